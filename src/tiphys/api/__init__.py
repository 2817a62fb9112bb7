"""Floor 1: the grammar of the Kubernetes API. Knows no kind."""
