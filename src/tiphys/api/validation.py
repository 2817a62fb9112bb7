"""Structural schemas of CustomResourceDefinitions: validation of custom objects, with ratcheting.

Rules in CEL (`x-kubernetes-validations`) are not run here: they stay on the nodes (`Schema.rules`) for a later step.
Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from tiphys.api import schema as s
from tiphys.api.custom_schema import Limits
from tiphys.api.errors import FieldError, duplicate, invalid, not_supported, required, too_long, too_many, type_invalid
from tiphys.api.formats import matches_format
from tiphys.api.schema import Schema, canonical

# Told apart from null: there was no such value before.
ABSENT: Any = object()


def validate(schema: Schema, obj: Any, path: str = "", old: Any = ABSENT) -> Iterator[FieldError]:
    """What is wrong with a custom object, in upstream's words; call it after `prune` and `default`.

    With `old`, what is as it was before is not judged again (ratcheting); items of a list are found by their keys.
    """
    if old is not ABSENT and old == obj and type(old) is type(obj):
        return
    limits = schema.limits
    if obj is None:
        if not schema.nullable and schema.code != s.ANY:
            yield _mistyped(path, _shown_type(schema), "null")
        if limits is not None and limits.enum is not None and None not in limits.enum:
            yield _not_among(limits.enum, obj, path)
        return
    if not _type_fits(schema, obj):
        yield _mistyped(path, _shown_type(schema), _type_of(obj))
        if schema.code == s.INTEGER and type(obj) is float:
            yield _out_of_range(schema, path)
        if limits is not None:
            yield from _limits(limits, obj, path, old)
        return
    if schema.format and not matches_format(schema.format, obj, schema.code):
        yield _misformatted(schema, obj, path)
    if limits is not None:
        yield from _limits(limits, obj, path, old)
    if type(obj) is dict:
        yield from _fields(schema, obj, path, old)
    elif type(obj) is list:
        yield from _items(schema, obj, path, old)


def _fields(schema: Schema, obj: dict[str, Any], path: str, old: Any) -> Iterator[FieldError]:
    for name in schema.required:
        if name not in obj:
            yield required(f"{path}.{name}" if path else name)
    before = old if type(old) is dict else {}
    for key, value in obj.items():
        field = schema.field(key)
        # Inside a built-in type, such as the metadata of an embedded resource, null means absent.
        if field is not None and not (value is None and schema.name):
            yield from validate(field, value, f"{path}.{key}" if path else key, before.get(key, ABSENT))


def _items(schema: Schema, items: list[Any], path: str, old: Any) -> Iterator[FieldError]:
    if schema.items is None:
        return
    names = schema.list_map_keys if schema.list_type == "map" else ()
    before = {_key(item, names): item for item in old if type(item) is dict} if names and type(old) is list else {}
    for index, item in enumerate(items):
        was = before.get(_key(item, names), ABSENT) if before and type(item) is dict else ABSENT
        yield from validate(schema.items, item, f"{path}[{index}]", was)


def _key(item: dict[str, Any], names: tuple[str, ...]) -> bytes:
    return canonical([item.get(name) for name in names])


def repeated(schema: Schema, obj: Any, path: str = "") -> Iterator[FieldError]:
    """Items that a list of type set or map has more than once."""
    if type(obj) is dict:
        for key, value in obj.items():
            field = schema.properties.get(key)
            if field is not None:
                yield from repeated(field, value, f"{path}.{key}" if path else key)
            elif schema.additional is not None:
                yield from repeated(schema.additional, value, f"{path}[{key}]")
    elif type(obj) is list:
        if schema.list_type in ("set", "map"):
            yield from _repeated(schema, obj, path)
        if schema.items is not None:
            for index, item in enumerate(obj):
                yield from repeated(schema.items, item, f"{path}[{index}]")


def _repeated(schema: Schema, items: list[Any], path: str) -> Iterator[FieldError]:
    seen: dict[bytes, int] = {}
    for index, item in enumerate(items):
        shown = item
        if schema.list_type == "map":
            if item is not None and type(item) is not dict:
                yield invalid(f"{path}[{index}]", item, "must be an object for an array of list-type map")
                return
            shown = {key: item[key] for key in schema.list_map_keys if key in item} if item else {}
        mark = canonical(shown)
        seen[mark] = seen.get(mark, 0) + 1
        if seen[mark] == 2:
            yield duplicate(f"{path}[{index}]", shown)


_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def _type_of(value: Any) -> str:
    return _NAMES.get(type(value), "null")


def _shown_type(schema: Schema) -> str:
    return "integer,string" if schema.code == s.INT_OR_STRING else schema.type


def _mistyped(path: str, wanted: str, found: str) -> FieldError:
    where = f"{path} in body" if path else "in body"
    return type_invalid(path or "<nil>", found, f'{where} must be of type {wanted}: "{found}"')


def _misformatted(schema: Schema, value: Any, path: str) -> FieldError:
    if type(value) is str:
        return type_invalid(path, value, f'{path} in body must be of type {schema.format}: "{value}"')
    return _out_of_range(schema, path)


def _out_of_range(schema: Schema, path: str) -> FieldError:
    """A number that its type or format cannot hold; upstream gives the error no path of its own."""
    layout = f"with format {schema.format}" if schema.format else "(default format)"
    return invalid("<nil>", "", f"Checked value must be of type {schema.type} {layout} in {path}")


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


def _limits(limits: Limits, value: Any, path: str, old: Any) -> Iterator[FieldError]:
    if limits.enum is not None and not _among(value, limits.enum):
        yield _not_among(limits.enum, value, path)
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
    yield from _combined(limits, value, path, old)


def _text(limits: Limits, value: str, path: str) -> Iterator[FieldError]:
    if limits.max_length is not None and len(value) > limits.max_length:
        yield too_long(path, limits.max_length)
    if limits.min_length is not None and len(value) < limits.min_length:
        yield invalid(path, value, f"{path} in body should be at least {limits.min_length} chars long")
    if limits.pattern:
        yield from _pattern(limits, value, path)


def _pattern(limits: Limits, value: str, path: str) -> Iterator[FieldError]:
    try:
        why = "" if limits.matches(value) else limits.pattern
    except ValueError as error:
        why = f"{limits.pattern}, but pattern is invalid: {error}"
    if why:
        yield invalid(path, value, f"{path} in body should match '{why}'")


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


def _not_among(allowed: Sequence[Any], value: Any, path: str) -> FieldError:
    return not_supported(path, value, [item if isinstance(item, str) else canonical(item).decode() for item in allowed])


def _among(value: Any, allowed: Sequence[Any]) -> bool:
    """Whether the value is one of those; true is not 1."""
    return any(value == each and (type(value) is bool) == (type(each) is bool) for each in allowed)


def _best(parts: Sequence[Schema], value: Any, path: str) -> tuple[int, list[FieldError]]:
    """How many of the alternatives fit, and where none does, what keeps the nearest from it."""
    failures = [list(validate(part, value, path)) for part in parts]
    fitting = sum(not each for each in failures)
    return fitting, [] if fitting else min(failures, key=_distance)


def _distance(failures: list[FieldError]) -> int:
    return sum(error.path != "<nil>" for error in failures)


def _combined(limits: Limits, value: Any, path: str, old: Any) -> Iterator[FieldError]:
    # Upstream gives these errors no path of their own.
    failures = [list(validate(part, value, path, old)) for part in limits.all_of]
    if any(failures):
        none = ". None validated" if all(failures) else ""
        yield invalid("<nil>", "", f'"{path}" must validate all the schemas (allOf){none}')
        for failure in failures:
            yield from failure
    if limits.any_of:
        fitting, nearest = _best(limits.any_of, value, path)
        if not fitting:
            yield invalid("<nil>", "", f'"{path}" must validate at least one schema (anyOf)')
            yield from nearest
    if limits.one_of:
        fitting, nearest = _best(limits.one_of, value, path)
        if fitting != 1:
            found = f"Found {fitting} valid alternatives" if fitting else "Found none valid"
            yield invalid("<nil>", "", f'"{path}" must validate one and only one schema (oneOf). {found}')
            yield from nearest
    if limits.negation is not None and next(validate(limits.negation, value, path), None) is None:
        yield invalid("<nil>", "", f'"{path}" must not validate the schema (not)')
