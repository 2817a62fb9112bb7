"""Kinds of the core API group."""
