"""Schemas as types of the language: what a rule may select, how large it can be, and how its data is read.

JSON stands for itself except where the schema says more: dates and durations, bytes, numbers that are written without a
fraction, lists that are sets or maps. `Decl.read` makes those of the data, and returns all other data as it is.
Source: upstream's `apiserver/pkg/cel/common/{schemas,valuesunstructured}.go`.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import Any

from tiphys.api import facts
from tiphys.api import schema as s
from tiphys.api.cel import types as t
from tiphys.api.cel.errors import EvalError
from tiphys.api.cel.escaping import escape
from tiphys.api.cel.temporal import parse_duration, parse_timestamp
from tiphys.api.cel.values import MapList, SetList
from tiphys.api.custom_schema import Limits
from tiphys.api.schema import Schema

MAX_REQUEST = 3 * 1024 * 1024

_Read = Callable[[Any], Any]


class Decl:
    """One node: its type, the longest it can be (`longest`), the fewest bytes it takes in JSON (`smallest`)."""

    __slots__ = ("element", "fields", "key", "longest", "read", "smallest", "type")

    def __init__(self, kind: t.Type, smallest: int, longest: int = 0, read: _Read | None = None) -> None:
        self.type, self.smallest, self.longest, self.read = kind, smallest, longest, read
        self.fields: dict[str, Decl] = {}
        self.key: Decl | None = None
        self.element: Decl | None = None

    def value(self, data: Any) -> Any:
        """The value that JSON data stands for. Raises EvalError for data that the schema does not allow."""
        if self.read is None or data is None:
            return data
        try:
            return self.read(data)
        except (ValueError, TypeError, AttributeError) as error:
            raise EvalError(f"invalid data: {error}") from None


def declare(node: Schema | None, *, root: bool = False, name: str = "object") -> Decl | None:
    """The declaration of a schema, None where expressions cannot see its data. `root` is a whole resource."""
    if node is None:
        return None
    if node.code == s.INT_OR_STRING:
        return Decl(t.DYN, 1, _longest_text(node))
    if node.code in (s.OBJECT, s.MAP):
        mapped = node.additional is not None and node.additional is not s.ANYTHING and not root
        return _map(node, name) if mapped else _object(node, name, root=root)
    if node.code == s.ARRAY:
        return _list(node, name)
    maker = _SCALARS.get(node.code)
    return maker(node) if maker is not None else None


def _maximum(node: Schema, field: str) -> int | None:
    found = getattr(node.limits, field) if node.limits is not None else None
    return None if found is None else max(0, int(found))


def _longest_text(node: Schema) -> int:
    limit = _maximum(node, "max_length")
    if limit is not None:
        return limit * 4
    allowed = node.limits.enum if node.limits is not None and node.code == s.STRING else None
    if allowed:
        return max((len(each.encode()) for each in allowed if isinstance(each, str)), default=0)
    return MAX_REQUEST - 2


def _text(node: Schema) -> Decl:
    if node.format == "byte":
        limit = _maximum(node, "max_length")
        return Decl(t.BYTES, 2, MAX_REQUEST - 2 if limit is None else limit, binascii.a2b_base64)
    if node.format == "duration":
        return Decl(t.DURATION, 3, 32, parse_duration)
    if node.format == "date":
        return Decl(t.TIMESTAMP, 12, 12, lambda text: parse_timestamp(f"{text}T00:00:00Z"))
    if node.format == "date-time":
        return Decl(t.TIMESTAMP, 21, 32, parse_timestamp)
    return Decl(t.STRING, 2, _longest_text(node))


_SCALARS: dict[int, Callable[[Schema], Decl]] = {
    s.STRING: _text,
    s.BOOLEAN: lambda node: Decl(t.BOOL, 4),
    s.INTEGER: lambda node: Decl(t.INT, 1),
    s.NUMBER: lambda node: Decl(t.DOUBLE, 1, read=float),
    # These only built-in types have.
    s.QUANTITY: lambda node: Decl(t.STRING, 2, MAX_REQUEST - 2),
    s.TIME: lambda node: Decl(t.TIMESTAMP, 21, 32, parse_timestamp),
    s.MICRO_TIME: lambda node: Decl(t.TIMESTAMP, 21, 32, parse_timestamp),
    s.BYTES: lambda node: Decl(t.BYTES, 2, MAX_REQUEST - 2, binascii.a2b_base64),
    s.FREE: lambda node: Decl(t.Struct("object"), 2),
}


def _list(node: Schema, name: str) -> Decl | None:
    item = node.items
    element = declare(item, root=item is not None and item.embedded_resource, name=f"{name}.@idx")
    if element is None:
        return None
    limit = _maximum(node, "max_items")
    found = Decl(t.list_of(element.type), 2, (MAX_REQUEST - 2) // (element.smallest + 1) if limit is None else limit)
    found.element = element
    found.read = _list_reader(node, element)
    return found


def _list_reader(node: Schema, element: Decl) -> _Read | None:
    each = element.read
    keys = node.list_map_keys
    if node.list_type == "set":
        return lambda data: SetList(data if each is None else map(element.value, data))
    if node.list_type == "map":
        return lambda data: MapList(data if each is None else [element.value(item) for item in data], keys)
    return None if each is None else lambda data: [element.value(item) for item in data]


def _map(node: Schema, name: str) -> Decl | None:
    values = node.additional
    element = declare(values, root=values is not None and values.embedded_resource, name=f"{name}.@elem")
    if element is None:
        return None
    limit = _maximum(node, "max_properties")
    found = Decl(
        t.map_of(t.STRING, element.type), 2, (MAX_REQUEST - 2) // (element.smallest + 6) if limit is None else limit
    )
    found.key, found.element = Decl(t.STRING, 2), element
    if element.read is not None:
        found.read = lambda data: {key: element.value(value) for key, value in data.items()}
    return found


def _properties(node: Schema, *, root: bool) -> dict[str, Schema]:
    if not root:
        return node.properties
    text = Schema(s.STRING)
    metadata = Schema(s.OBJECT)
    metadata.properties = _metadata(node)
    return {**node.properties, "apiVersion": text, "kind": text, "metadata": metadata}


def _metadata(node: Schema) -> dict[str, Schema]:
    """What the author declared of the metadata, where that includes the names; else the names, which are bounded."""
    known = facts.schema("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").properties
    metadata = node.properties.get("metadata")
    found = metadata.properties if metadata is not None else {}
    declared = {name: child for name, child in found.items() if child is not known.get(name)}
    if "name" in declared and "generateName" in declared:
        return declared
    # A generated suffix has one character at least.
    return {"name": _name(declared.get("name"), 253), "generateName": _name(declared.get("generateName"), 252)}


def _name(declared: Schema | None, longest: int) -> Schema:
    limit = _maximum(declared, "max_length") if declared is not None else None
    text = Schema(s.STRING)
    text.limits = Limits({"maxLength": longest if limit is None else min(limit, longest)})
    return text


def _object(node: Schema, name: str, *, root: bool) -> Decl:
    fields: dict[str, t.Field] = {}
    found = Decl(t.Struct(name, fields), 2)
    readers: list[tuple[str, Decl]] = []
    for key, child in _properties(node, root=root).items():
        identifier = escape(key)
        declared = declare(child, root=child.embedded_resource, name=f"{name}.{identifier or key}")
        if declared is None:
            continue
        if key in node.required and child.default is None:
            found.smallest += len(key.encode()) + declared.smallest + 4
        if declared.read is not None:
            readers.append((key, declared))
        if identifier is not None:
            fields[identifier] = t.Field(key, declared.type)
            found.fields[identifier] = declared
            if identifier == f"__{key}__":
                # A keyword may also be selected as it is.
                fields[key], found.fields[key] = fields[identifier], declared
    if readers:
        found.read = _object_reader(readers)
    return found


def _object_reader(readers: list[tuple[str, Decl]]) -> _Read:
    def read(data: Any) -> Any:
        found = dict(data)
        for key, declared in readers:
            if key in found:
                found[key] = declared.value(found[key])
        return found

    return read
