"""Defaults in a definition's schema: each must be a value that its place may have, with no field too many.

Source: upstream's `apiextensions-apiserver/pkg/apiserver/schema/defaulting/validation.go`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tiphys.api import embedded, validation
from tiphys.api.errors import FieldError, invalid
from tiphys.api.rules import has_rules
from tiphys.api.schema import Schema
from tiphys.kinds.checks import Errors

_IDENTITY = ("metadata", "apiVersion", "kind")


@dataclass(frozen=True, slots=True)
class _Place:
    """`steps` lead here from the resource that the place is in; None where it is not about a resource's identity."""

    path: str
    steps: tuple[str, ...] | None = None


def check_defaults(schema: Schema, path: str) -> Iterator[FieldError]:
    """Complaints about the defaults at and below `path`; `schema` is structural."""
    yield from _check(schema, _Place(path))


def _check(node: Schema, place: _Place) -> Errors:
    if node.embedded_resource:
        place = replace(place, steps=None)
    if node.default is not None:
        yield from _default(node, place)
    # Below additionalProperties there are no defaults.
    if node.items is not None:
        steps = None if place.steps is None else (*place.steps, "")
        yield from _check(node.items, _Place(f"{place.path}.items", steps))
    for name, child in sorted(node.properties.items()):
        if child.name:
            # A built-in type has no defaults of this definition.
            continue
        steps = place.steps
        if steps is not None:
            steps = (*steps, name)
        elif node.embedded_resource and name in _IDENTITY:
            steps = (name,)
        yield from _check(child, _Place(f"{place.path}.properties[{name}]", steps))


def _default(node: Schema, place: _Place) -> Errors:
    at, value = f"{place.path}.default", node.default
    if place.steps is not None:
        problems = list(embedded.check_resource(_surrounded(value, place.steps), ""))
        if problems:
            why = ", ".join(f"{error.path.removeprefix('.')}: {error.detail}" for error in problems)
            shown = why if len(problems) == 1 else f"[{why}]"
            yield invalid(at, value, f"must result in valid metadata: {shown}")
            return
    else:
        if _has_undeclared(node, value):
            yield invalid(at, value, "must not have unknown fields")
        problems = (
            list(embedded.check_resource(value, at)) if node.embedded_resource and isinstance(value, dict) else []
        )
        problems += embedded.check_embedded(node, value, at)
        if problems:
            yield from problems
            return
    problems = [replace(error, path=_joined(at, error.path)) for error in validation.validate(node, value)]
    yield from problems
    if not problems and has_rules(node):
        yield from _by_rules(node, value, at)


def _has_undeclared(node: Schema, value: Any) -> bool:
    """Whether pruning would take something away; what a resource has in its metadata, another rule judges."""
    if isinstance(value, list):
        return node.items is not None and any(_has_undeclared(node.items, item) for item in value)
    if not isinstance(value, dict):
        return False
    for key, child in value.items():
        field = node.field(key)
        if field is None and not node.preserve_unknown:
            return True
        if field is not None and not (node.embedded_resource and key in _IDENTITY) and _has_undeclared(field, child):
            return True
    return False


def _joined(at: str, path: str) -> str:
    if path in ("", "<nil>"):
        return at
    return f"{at}{path}" if path.startswith("[") else f"{at}.{path}"


def _by_rules(node: Schema, value: Any, at: str) -> Errors:
    """The rules, of an object that keeps the default and of one that gets it."""
    from tiphys.api.rules.compiled import tree
    from tiphys.api.rules.evaluate import evaluate_rules

    found = tree(node, root=node.embedded_resource)
    if found is None:
        return
    problems = list(evaluate_rules(found, value, value)) or list(evaluate_rules(found, value))
    yield from (replace(error, path=_joined(at, error.path)) for error in problems)


def _surrounded(value: Any, steps: tuple[str, ...]) -> dict[str, Any]:
    """A resource that has `value` where the steps lead; an empty step is an index."""
    for step in reversed(steps):
        value = {step: value} if step else [value]
    return {"apiVersion": "validation/v1", "kind": "Validation", **value}
