"""Whether a node is among those that a NodeSelector means. Source: the NodeSelector definition of core/v1."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tiphys.kinds.core.affinity import LabelSelectorRequirement, NodeSelector, NodeSelectorTerm
from tiphys.kinds.core.node import Node

# What upstream reads as a number; Python would take 1_000 for one too.
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")


def selects(selector: NodeSelector | None, node: Node) -> bool:
    """Whether one of its terms matches; no selector at all selects every node."""
    return selector is None or any(term_matches(term, node) for term in selector.node_selector_terms)


def term_matches(term: NodeSelectorTerm, node: Node) -> bool:
    """An empty term matches nothing."""
    if not term.match_expressions and not term.match_fields:
        return False
    fields = {"metadata.name": node.metadata.name}
    return all(_holds(r, node.metadata.labels) for r in term.match_expressions) and all(
        _holds(r, fields) for r in term.match_fields
    )


def _holds(requirement: LabelSelectorRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compares(requirement, value)
    return False


def _compares(requirement: LabelSelectorRequirement, value: str | None) -> bool:
    if not (value and _INTEGER.fullmatch(value) and requirement.values and _INTEGER.fullmatch(requirement.values[0])):
        return False
    left, right = int(value), int(requirement.values[0])
    return left > right if requirement.operator == "Gt" else left < right
