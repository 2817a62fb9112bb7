"""Marathon app and group definitions."""
