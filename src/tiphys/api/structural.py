"""Structural schemas of CustomResourceDefinitions: pruning and defaulting of custom objects.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tiphys.api import schema as s
from tiphys.api.errors import FieldError, required
from tiphys.api.schema import Schema


def prune(schema: Schema, obj: Any, path: str = "") -> list[str]:
    """Remove what the schema does not declare, and nulls that may not be, in place.

    Returns `unknown field "PATH"` for each undeclared field.
    """
    found: list[str] = []
    _prune(schema, obj, path, found)
    return found


def _prune(node: Schema, value: Any, path: str, found: list[str]) -> None:
    if type(value) is list:
        if node.items is not None:
            for index, item in enumerate(value):
                _prune(node.items, item, f"{path}[{index}]", found)
    elif type(value) is dict:
        for key in list(value):
            at = f"{path}.{key}" if path else key
            field = node.field(key)
            if field is not None:
                child = value[key]
                if child is None and not field.nullable and field.default is None and field is not s.ANYTHING:
                    # Where null is no value it means absent; with a default, the default takes its place.
                    del value[key]
                elif type(child) is dict or type(child) is list:
                    _prune(field, child, at, found)
            elif not node.preserve_unknown and node.code in (s.OBJECT, s.ANY, s.MAP):
                found.append(f'unknown field "{at}"')
                del value[key]


def has_defaults(schema: Schema) -> bool:
    """Whether `default` could do anything."""
    return _any_below(schema, lambda node: node.default is not None)


def has_unique_lists(schema: Schema) -> bool:
    """Whether `repeated` could find anything."""
    return _any_below(schema, lambda node: node.list_type in ("set", "map"))


def _any_below(schema: Schema, wanted: Callable[[Schema], bool]) -> bool:
    if wanted(schema):
        return True
    inner = [*schema.properties.values(), *(each for each in (schema.items, schema.additional) if each is not None)]
    # Nodes with a name are of built-in types, which have neither defaults nor bounds of a definition.
    return any(_any_below(each, wanted) for each in inner if not each.name)


def default(schema: Schema, obj: Any) -> None:
    """Fill in defaults, in place. A null that may not be null gives way to its field's default."""
    if type(obj) is dict:
        for name, field in schema.properties.items():
            if field.default is None:
                if name in obj:
                    default(field, obj[name])
                continue
            if name not in obj or (obj[name] is None and not field.nullable):
                obj[name] = _fresh(field.default)
            default(field, obj[name])
        if schema.additional is not None:
            for name, value in obj.items():
                if name not in schema.properties:
                    default(schema.additional, value)
    elif type(obj) is list and schema.items is not None:
        for item in obj:
            default(schema.items, item)


def _fresh(value: Any) -> Any:
    if type(value) is dict:
        return {key: _fresh(child) for key, child in value.items()}
    return [_fresh(child) for child in value] if type(value) is list else value


def missing(schema: Schema, obj: Any, path: str = "") -> Iterator[FieldError]:
    """Required fields that are absent, at any depth. For built-in types this is advice, not upstream's verdict."""
    if type(obj) is dict:
        for name in schema.required:
            if name not in obj:
                yield required(f"{path}.{name}" if path else name)
        for key, value in obj.items():
            field = schema.field(key)
            if field is not None:
                yield from missing(field, value, f"{path}.{key}" if path else key)
    elif type(obj) is list and schema.items is not None:
        for index, item in enumerate(obj):
            yield from missing(schema.items, item, f"{path}[{index}]")
