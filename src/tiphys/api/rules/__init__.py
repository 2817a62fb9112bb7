"""Validation rules of custom resources (`x-kubernetes-validations`): checked with the definition, run on objects.

Only definitions that have rules load the language; ask `has_rules` first.
Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
"""

from __future__ import annotations

from tiphys.api.schema import Schema


def has_rules(node: Schema) -> bool:
    """Whether the schema, or any below it, has rules."""
    if node.rules:
        return True
    inner = [*node.properties.values(), *(each for each in (node.items, node.additional) if each is not None)]
    inner += node.limits.all_of if node.limits is not None else ()
    return any(map(has_rules, inner))
