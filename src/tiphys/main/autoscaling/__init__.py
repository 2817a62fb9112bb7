"""Nodes that come when pods find no place and go when they are not needed."""
