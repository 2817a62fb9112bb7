"""Labels of nodes that have a new name, and what upstream warns of them. Source: upstream's `pkg/api/node/util.go`."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.resource import Json

_DEPRECATED = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}


def deprecation(label: str) -> str | None:
    """What to say of a label that has a new name."""
    return _DEPRECATED.get(label)


def selector_warnings(selector: Json, path: str) -> Iterator[str]:
    """Of a map of labels."""
    for key in selector:
        if key in _DEPRECATED:
            yield f"{path}[{key}]: {_DEPRECATED[key]}"


def label_selector_warnings(selector: Json | None, path: str) -> Iterator[str]:
    """Of a LabelSelector of nodes."""
    if not selector:
        return
    yield from term_warnings(selector, path)
    for key in selector.get("matchLabels") or ():
        if key in _DEPRECATED:
            yield f"{path}.matchLabels.{key}: {_DEPRECATED[key]}"


def term_warnings(term: Json, path: str, *, values: bool = False) -> Iterator[str]:
    """Of a NodeSelectorTerm; `values`: whether to speak of values that no label can have."""
    for index, expression in enumerate(term.get("matchExpressions") or ()):
        key = expression.get("key") or ""
        if key in _DEPRECATED:
            yield f"{path}.matchExpressions[{index}].key: {key} is {_DEPRECATED[key]}"
        for position, value in enumerate((expression.get("values") or ()) if values else ()):
            for problem in names.label_value(value):
                yield f"{path}.matchExpressions[{index}].values[{position}]: {value} is invalid, {problem}"
