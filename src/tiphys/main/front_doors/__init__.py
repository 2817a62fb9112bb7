"""`tiphys stack` and `tiphys marathon`: the translated objects, applied, watched, listed and taken back."""
