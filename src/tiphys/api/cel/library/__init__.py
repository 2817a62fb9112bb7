"""The functions of the language, one file per library; `standard` is the language's own, the others Kubernetes' choice."""
