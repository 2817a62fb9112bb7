"""Floor 3: the API server: HTTP -> authentication -> authorization -> admission -> registry -> store.

Generic over ResourceType; never imports a kind.
"""
