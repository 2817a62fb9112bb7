"""In work by the founder."""
