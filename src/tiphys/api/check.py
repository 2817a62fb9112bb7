"""Decoding against a schema: what a request's body must be before anything else looks at it.

Upstream decodes into Go structs; this walks the plain object in place and has the same effects: unknown fields go, null
means absent, quantities and times become canonical, wrong types are refused. The common case - nothing unknown, nothing
wrong - is one tight walk that knows no paths; anything odd makes a second walk that finds out what to say.
Pruning, defaulting and validation for CustomResourceDefinitions are here too (from `structural`).
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import orjson

from tiphys.api import schema as s
from tiphys.api.bounds import bounded
from tiphys.api.errors import BadRequest
from tiphys.api.scalars import READERS, fits
from tiphys.api.schema import Schema
from tiphys.api.structural import default, missing, prune
from tiphys.api.validation import validate

__all__ = ["decode", "default", "loads", "loads_strict", "missing", "prune", "validate"]

IGNORE, WARN, STRICT = "Ignore", "Warn", "Strict"

_INT32 = 2**31
_MAX_REPORTED = 100
# What the commonest types are in Python, by code; None where a value needs more than a look at its type.
_PYTHON: tuple[Any, ...] = (str, int, bool, dict, dict, list, *[None] * 8)
_KEY = re.compile(rb'"\s*:')
_QUOTED_KEY = re.compile(rb'\\"\s*:')
# An escaped backslash before a quote: the one text in which a quote after a backslash ends a string.
_TRICKY = rb'\\"'


def loads(data: bytes) -> Any:
    """A JSON body. Raises BadRequest where it is not JSON, or nested too deep."""
    try:
        return bounded(orjson.loads(data), data)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"error decoding from json: {error}") from None


def loads_strict(data: bytes) -> tuple[Any, list[str]]:
    """A JSON body and `duplicate field "spec.replicas"` for each key that its object has twice. Raises BadRequest."""
    obj = loads(data)
    # Every key ends in `":`, and text may hold more of them: with equal counts no key was lost to a duplicate.
    keys, written = _count_keys(obj), len(_KEY.findall(data))
    if written == keys or (_TRICKY not in data and written - len(_QUOTED_KEY.findall(data)) == keys):
        return obj, []
    found: list[str] = []
    _find_duplicates(json.loads(data, object_pairs_hook=_Pairs), "", found)
    return obj, found


class _Pairs(list[tuple[str, Any]]):
    """An object as its keys and values were written."""


def _count_keys(value: Any) -> int:
    if type(value) is dict:
        count = len(value)
        for child in value.values():
            if type(child) is dict or type(child) is list:
                count += _count_keys(child)
        return count
    return sum(map(_count_keys, value)) if type(value) is list else 0


def _find_duplicates(value: Any, path: str, found: list[str]) -> None:
    if type(value) is _Pairs:
        seen = set()
        for key, child in value:
            at = f"{path}.{key}" if path else key
            if key in seen:
                found.append(f'duplicate field "{at}"')
            seen.add(key)
            _find_duplicates(child, at, found)
    elif type(value) is list:
        for index, child in enumerate(value):
            _find_duplicates(child, f"{path}[{index}]", found)


def decode(schema: Schema, obj: Any, *, mode: str = STRICT) -> list[str]:
    """Make `obj` what upstream would have decoded, in place; returns `unknown field "PATH"` for each field dropped.

    `mode` is the request's fieldValidation; with Ignore nothing is reported. What the caller does about a report is
    its affair. Raises BadRequest with upstream's text for a value that its field cannot hold.
    """
    if type(obj) is not dict:
        raise BadRequest(f"the body must be a JSON object, not {_go_kind(obj)}")
    if schema.embedded_resource:
        unknown = _decode_custom(schema, obj)
    elif _clean(schema, obj):
        return []
    else:
        walk = _Walk(obj)
        walk.object(schema, obj, "")
        unknown = walk.unknown
    return [] if mode == IGNORE else unknown


def _decode_custom(schema: Schema, obj: dict[str, Any]) -> list[str]:
    """A custom object keeps its nulls and types for `validate` to judge; only its metadata is of a built-in type."""
    metadata = obj.get("metadata")
    field = schema.properties["metadata"]
    walk = _Walk(obj)
    if metadata is None:
        obj.pop("metadata", None)
    elif type(metadata) is not dict or not _clean(field, metadata):
        obj["metadata"] = walk.field(schema, "metadata", metadata)
    return [*walk.unknown, *prune(schema, obj)]


def _clean(node: Schema, obj: dict[str, Any]) -> bool:
    """Whether `obj` holds nothing that needs a path to talk about; nulls and empties go, scalars become canonical."""
    fields = node.properties
    absent = None
    for key, value in obj.items():
        field = fields.get(key)
        if field is None:
            return False
        code = field.code
        if type(value) is not _PYTHON[code]:
            if value is None:
                absent = [*absent, key] if absent else [key]
                continue
            scalar = READERS[code]
            if scalar is None:
                return False
            try:
                obj[key] = scalar(value)
            except (ValueError, TypeError):
                return False
        elif code <= s.BOOLEAN:
            if code == s.INTEGER and not -_INT32 <= value < _INT32 and not fits(field, value):
                return False
        elif not value and code != s.OBJECT and key not in node.required:
            # Go's `omitempty`: a list or map that holds nothing is as good as absent.
            absent = [*absent, key] if absent else [key]
        elif not _CLEAN[code](field, value):
            return False
    if absent:
        for key in absent:
            del obj[key]
    return True


def _omitted(field: Schema, value: Any) -> bool:
    """A list or map that holds nothing."""
    return field.code in (s.MAP, s.ARRAY) and type(value) is _PYTHON[field.code] and not value


def _clean_map(node: Schema, obj: dict[str, Any]) -> bool:
    field = node.additional
    assert field is not None
    code = field.code
    if code == s.STRING:
        return all(type(value) is str for value in obj.values())
    scalar = READERS[code]
    if scalar is None:
        return all(_clean_value(field, value) for value in obj.values())
    try:
        for key, value in obj.items():
            obj[key] = scalar(value)
    except (ValueError, TypeError):
        return False
    return True


def _clean_list(node: Schema, values: list[Any]) -> bool:
    field = node.items
    assert field is not None
    if field.code == s.OBJECT:
        return all(type(value) is dict and _clean(field, value) for value in values)
    return all(_clean_value(field, value) for value in values)


def _clean_value(field: Schema, value: Any) -> bool:
    """Like a field's value, for an element; scalars with a canonical form are left to the careful walk."""
    code = field.code
    if type(value) is not _PYTHON[code]:
        return code == s.ANY
    if code <= s.BOOLEAN:
        return code != s.INTEGER or fits(field, value)
    return _CLEAN[code](field, value)


_CLEAN: dict[int, Callable[[Schema, Any], bool]] = {s.OBJECT: _clean, s.MAP: _clean_map, s.ARRAY: _clean_list}


def _go_kind(value: Any) -> str:
    """What Go's decoder calls a JSON value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


class _Walk:
    """The careful walk: the same effects as `_clean`, with the path of everything that is odd."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.unknown: list[str] = []
        # The struct fields down to here, which is how Go names a place.
        self._fields: list[str] = []
        self._kind = str(root.get("kind", ""))
        self._version = str(root.get("apiVersion", "")).rpartition("/")[2]

    def object(self, node: Schema, obj: dict[str, Any], path: str) -> None:
        for key in list(obj):
            field = node.field(key)
            at = f"{path}.{key}" if path else key
            if field is None:
                if node.preserve_unknown:
                    continue
                if len(self.unknown) < _MAX_REPORTED:
                    self.unknown.append(f'unknown field "{at}"')
                del obj[key]
            elif obj[key] is None:
                if field.code != s.ANY:
                    del obj[key]
            elif _omitted(field, obj[key]) and key not in node.required:
                del obj[key]
            else:
                self._fields.append(key)
                obj[key] = self.value(field, obj[key], at, node)
                self._fields.pop()

    def field(self, node: Schema, name: str, value: Any) -> Any:
        """Decode one field of the root."""
        self._fields.append(name)
        return self.value(node.properties[name], value, name, node)

    def value(self, field: Schema, value: Any, path: str, owner: Schema) -> Any:
        code = field.code
        scalar = READERS[code]
        if scalar is not None:
            try:
                return scalar(value)
            except ValueError as error:
                raise self._refuse(str(error)) from None
            except TypeError:
                raise self._mismatch(field, value, owner) from None
        if type(value) is not _PYTHON[code] or (code == s.INTEGER and not fits(field, value)):
            raise self._mismatch(field, value, owner)
        if code == s.ARRAY:
            assert field.items is not None
            for index, item in enumerate(value):
                at = f"{path}[{index}]"
                value[index] = _zero(field.items) if item is None else self.value(field.items, item, at, owner)
        elif code == s.OBJECT:
            self.object(field, value, path)
        elif code == s.MAP:
            # Go names the struct that holds the map, not the map.
            for key, item in value.items():
                assert field.additional is not None
                at = f"{path}.{key}"
                value[key] = _zero(field.additional) if item is None else self.value(field.additional, item, at, owner)
        return value

    def _mismatch(self, field: Schema, value: Any, owner: Schema) -> BadRequest:
        kind = _go_kind(value)
        if kind == "number" and field.code == s.INTEGER:
            kind = f"number {orjson.dumps(value).decode()}"
        where = ".".join([owner.struct, *self._fields])
        return self._refuse(f"json: cannot unmarshal {kind} into Go struct field {where} of type {field.go}")

    def _refuse(self, why: str) -> BadRequest:
        kind = self._kind
        return BadRequest(f'{kind} in version "{self._version}" cannot be handled as a {kind}: {why}')


def _zero(field: Schema) -> Any:
    """What Go's decoder leaves for a null element: the type's zero value."""
    code = field.code
    if code in (s.OBJECT, s.MAP, s.FREE):
        return {}
    if code == s.ARRAY:
        return []
    if code in (s.INTEGER, s.NUMBER, s.INT_OR_STRING):
        return 0
    if code == s.BOOLEAN:
        return False
    if code == s.QUANTITY:
        return "0"
    return None if code in (s.ANY, s.TIME, s.MICRO_TIME) else ""
