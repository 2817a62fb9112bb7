"""Files of other orchestrators as native objects: Compose and Swarm stack files, Marathon app and group definitions."""
