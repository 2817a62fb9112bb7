"""The functions of the language, a file a library; `standard` is the language's own, the others Kubernetes' choice."""
