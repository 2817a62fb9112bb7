"""Structural schemas of CustomResourceDefinitions: pruning, defaulting and validation of custom objects.

Rules in CEL (`x-kubernetes-validations`) are not run here: they stay on the nodes (`Schema.rules`) for a later step.
Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from tiphys.api import schema as s
from tiphys.api.errors import FieldError, duplicate, invalid, not_supported, required, too_long, too_many, type_invalid
from tiphys.api.formats import matches_format
from tiphys.api.schema import Limits, Schema, canonical


def prune(schema: Schema, obj: Any, path: str = "") -> list[str]:
    """Remove what the schema does not declare, in place; returns `unknown field "PATH"` for each field removed."""
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
                _prune(field, value[key], at, found)
            elif not node.preserve_unknown and node.code in (s.OBJECT, s.ANY, s.MAP):
                found.append(f'unknown field "{at}"')
                del value[key]


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


def validate(schema: Schema, obj: Any, path: str = "") -> Iterator[FieldError]:
    """What is wrong with a custom object, in upstream's words; call it after `prune` and `default`."""
    if obj is None:
        if not schema.nullable and schema.code != s.ANY:
            yield _mistyped(path, schema.type, "null")
        return
    if not _type_fits(schema, obj):
        yield _mistyped(path, _shown_type(schema), _type_of(obj))
        return
    if schema.format and type(obj) in (str, int, float) and not matches_format(schema.format, obj):
        yield type_invalid(path, obj, f'{path} in body must be of type {schema.format}: "{obj}"')
    if schema.limits is not None:
        yield from _limits(schema.limits, obj, path)
    if type(obj) is dict:
        yield from _fields(schema, obj, path)
    elif type(obj) is list:
        yield from _items(schema, obj, path)


def _fields(schema: Schema, obj: dict[str, Any], path: str) -> Iterator[FieldError]:
    for name in schema.required:
        if name not in obj:
            yield required(f"{path}.{name}" if path else name)
    for key, value in obj.items():
        field = schema.field(key)
        # Inside a built-in type, such as the metadata of an embedded resource, null means absent.
        if field is not None and not (value is None and schema.name):
            yield from validate(field, value, f"{path}.{key}" if path else key)


def _items(schema: Schema, items: list[Any], path: str) -> Iterator[FieldError]:
    if schema.items is not None:
        for index, item in enumerate(items):
            yield from validate(schema.items, item, f"{path}[{index}]")
    if schema.list_type in ("set", "map"):
        seen = set()
        for index, item in enumerate(items):
            shown = item
            if schema.list_type == "map" and type(item) is dict:
                shown = {key: item[key] for key in schema.list_map_keys if key in item}
            mark = canonical(shown)
            if mark in seen:
                yield duplicate(f"{path}[{index}]", shown)
            seen.add(mark)


_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def _type_of(value: Any) -> str:
    return _NAMES.get(type(value), "null")


def _shown_type(schema: Schema) -> str:
    return "integer,string" if schema.code == s.INT_OR_STRING else schema.type


def _mistyped(path: str, wanted: str, found: str) -> FieldError:
    where = f"{path} in body" if path else "in body"
    return type_invalid(path or "<nil>", found, f'{where} must be of type {wanted}: "{found}"')


_TYPES: dict[int, tuple[type, ...]] = {
    s.STRING: (str,), s.BOOLEAN: (bool,), s.OBJECT: (dict,), s.MAP: (dict,), s.FREE: (dict,), s.ARRAY: (list,),
    s.INT_OR_STRING: (str, int), s.QUANTITY: (str, int, float), s.TIME: (str,), s.MICRO_TIME: (str,), s.BYTES: (str,),
    s.NUMBER: (int, float),
}  # fmt: skip


def _type_fits(schema: Schema, value: Any) -> bool:
    code = schema.code
    if code == s.INTEGER:
        return type(value) is int or (type(value) is float and value.is_integer())
    return code == s.ANY or type(value) in _TYPES[code]


def _limits(limits: Limits, value: Any, path: str) -> Iterator[FieldError]:
    if limits.enum is not None and value not in limits.enum:
        yield not_supported(path, value, [item if isinstance(item, str) else str(item) for item in limits.enum])
    kind = type(value)
    if kind is str:
        yield from _text(limits, value, path)
    elif kind is int or kind is float:
        yield from _range(limits, value, path)
    elif kind is list:
        yield from _list(limits, value, path)
    elif kind is dict:
        if limits.min_properties is not None and len(value) < limits.min_properties:
            yield invalid(path, value, f"{path} in body should have at least {limits.min_properties} properties")
        if limits.max_properties is not None and len(value) > limits.max_properties:
            yield too_many(path, len(value), limits.max_properties)
    yield from _combined(limits, value, path)


def _text(limits: Limits, value: str, path: str) -> Iterator[FieldError]:
    if limits.max_length is not None and len(value) > limits.max_length:
        yield too_long(path, limits.max_length)
    if limits.min_length is not None and len(value) < limits.min_length:
        yield invalid(path, value, f"{path} in body should be at least {limits.min_length} chars long")
    if limits.pattern is not None and limits.pattern.search(value) is None:
        yield invalid(path, value, f"{path} in body should match '{limits.pattern_text}'")


def _range(limits: Limits, value: float, path: str) -> Iterator[FieldError]:
    high, low, step = limits.maximum, limits.minimum, limits.multiple_of
    if high is not None and (value >= high if limits.exclusive_maximum else value > high):
        bound = "less than" if limits.exclusive_maximum else "less than or equal to"
        yield invalid(path, value, f"{path} in body should be {bound} {high:g}")
    if low is not None and (value <= low if limits.exclusive_minimum else value < low):
        bound = "greater than" if limits.exclusive_minimum else "greater than or equal to"
        yield invalid(path, value, f"{path} in body should be {bound} {low:g}")
    if step and not math.isclose(value / step, round(value / step), rel_tol=1e-12, abs_tol=1e-12):
        yield invalid(path, value, f"{path} in body should be a multiple of {step:g}")


def _list(limits: Limits, value: list[Any], path: str) -> Iterator[FieldError]:
    if limits.max_items is not None and len(value) > limits.max_items:
        yield too_many(path, len(value), limits.max_items)
    if limits.min_items is not None and len(value) < limits.min_items:
        yield invalid(path, value, f"{path} in body should have at least {limits.min_items} items")
    if limits.unique_items and len({canonical(item) for item in value}) < len(value):
        yield invalid(path, value, f"{path} in body shouldn't contain duplicates")


def _passes(schema: Schema, value: Any, path: str) -> bool:
    return next(validate(schema, value, path), None) is None


def _combined(limits: Limits, value: Any, path: str) -> Iterator[FieldError]:
    for part in limits.all_of:
        yield from validate(part, value, path)
    if limits.any_of and not any(_passes(part, value, path) for part in limits.any_of):
        yield invalid(path, "", f'"{path}" must validate at least one schema (anyOf)')
    if limits.one_of:
        count = sum(_passes(part, value, path) for part in limits.one_of)
        if count != 1:
            found = f"Found {count} valid alternatives" if count else "Found none valid"
            yield invalid(path, "", f'"{path}" must validate one and only one schema (oneOf). {found}')
    if limits.negation is not None and _passes(limits.negation, value, path):
        yield invalid(path, "", f'"{path}" must not validate the schema (not)')
