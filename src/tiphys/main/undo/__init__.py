"""Undo: what became of an object, and going back to what it was, from the history that every cluster ships."""
