"""Floor 2, the vocabulary: one file per kind, by group; `registry.builtin()` lists them all.

A kind is a partial frozen model for components, and a `ResourceType` whose `Strategy` defaults, prepares and validates.
Facts follow https://kubernetes.io/docs/reference/kubernetes-api/ for v1.36.
"""
