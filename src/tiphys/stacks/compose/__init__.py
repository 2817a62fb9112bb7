"""Compose and Swarm stack files."""
