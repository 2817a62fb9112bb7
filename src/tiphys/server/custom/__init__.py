"""CustomResourceDefinitions: each becomes ResourceTypes in the registry and travels the built-ins' road from there.

`resources` makes them of a definition, `view` shows stored objects in a version, `conversion` asks webhooks, `naming`
decides which names are accepted, `cleanup` empties what goes, and `controller` follows the definitions.
Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""
