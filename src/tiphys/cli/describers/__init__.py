"""Layouts of `kubectl describe`, by kind."""
