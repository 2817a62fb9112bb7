"""Subresources that do more than show a part of their object; `install` puts each into the server's table."""
