"""Protobuf messages of the built-in types, made from two tables of facts when protobuf is first spoken.

A definition of `facts.json` says what its fields are, `wire.json` says under which numbers they travel
(`tools/generate_wire.py`). Source: the `protobuf` tags of the Go structs of Kubernetes v1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tiphys.api import facts
from tiphys.api import schema as s
from tiphys.api.schema import Schema

_Proto = descriptor_pb2.FieldDescriptorProto
SCHEMA_PROPS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_LIST_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"

_SCALARS = {
    s.STRING: _Proto.TYPE_STRING, s.INTEGER: _Proto.TYPE_INT64, s.BOOLEAN: _Proto.TYPE_BOOL,
    s.NUMBER: _Proto.TYPE_DOUBLE, s.BYTES: _Proto.TYPE_BYTES,
}  # fmt: skip
# Values that JSON writes as one scalar and protobuf as a message: name -> its fields as `NUMBER:NAME:TYPE`.
WRAPPED = {
    s.TIME: "Time", s.MICRO_TIME: "Time", s.QUANTITY: "Quantity", s.INT_OR_STRING: "IntOrString",
    s.ANY: "Raw", s.FREE: "Raw",
}  # fmt: skip
_WRAPPERS = {
    "Time": (("seconds", 1, _Proto.TYPE_INT64), ("nanos", 2, _Proto.TYPE_INT32)),
    "Quantity": (("string", 1, _Proto.TYPE_STRING),),
    "IntOrString": (
        ("type", 1, _Proto.TYPE_INT64), ("intVal", 2, _Proto.TYPE_INT32), ("strVal", 3, _Proto.TYPE_STRING),
    ),
    "Raw": (("raw", 1, _Proto.TYPE_BYTES),),
    "TypeMeta": (("apiVersion", 1, _Proto.TYPE_STRING), ("kind", 2, _Proto.TYPE_STRING)),
}  # fmt: skip
# Fields of a JSON schema that hold one of two things: name -> (number of the schema, number of the other, its name).
_UNIONS = {
    "items": (1, 2, "schemas"), "additionalItems": (2, 1, "allows"), "additionalProperties": (2, 1, "allows"),
    "dependencies": (1, 2, "property"),
}  # fmt: skip


def _wire() -> dict[str, str]:
    table: dict[str, str] = orjson.loads(Path(__file__).with_name("wire.json").read_bytes())
    return table


def _title(name: str) -> str:
    return name.replace(".", "_").replace("-", "_")


def field_name(name: str, number: int) -> str:
    """Some names of JSON schemas are no identifiers; their numbers stand in."""
    return name if name.isidentifier() else f"f{number}"


class Messages:
    """All messages in one file: every definition of the table, and the few that frame and wrap."""

    def __init__(self) -> None:
        self.table = _wire()
        known = set(facts.names())
        self._file = descriptor_pb2.FileDescriptorProto(name="k8s.proto", package="k8s", syntax="proto2")
        self._frames()
        for name in self.table:
            if name in known:
                self._define(name)
        for name in known - self.table.keys():
            # Empty structs, which the table leaves out.
            self._message(_title(name))
        self._pool = descriptor_pool.DescriptorPool()
        self._pool.AddSerializedFile(self._file.SerializeToString())
        del self._file

    def of(self, name: str) -> Any:
        """The message class of a definition, or of one of those that frame."""
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(f"k8s.{_title(name)}"))

    def rows(self, name: str) -> Iterator[tuple[int, str, str]]:
        """(number, flag, JSON name) of a definition's fields; flag `*` may be absent, `>` is an inlined struct."""
        for token in self.table.get(name, "").split():
            digits = next(index for index, char in enumerate(token) if not char.isdigit())
            yield int(token[:digits]), token[digits], token[digits + 1 :]

    def _message(self, name: str) -> Any:
        return self._file.message_type.add(name=name)

    def _frames(self) -> None:
        for name, fields in _WRAPPERS.items():
            message = self._message(name)
            for field, number, kind in fields:
                _add(message, field, number, kind)
        unknown = self._message("Unknown")
        _add(unknown, "typeMeta", 1, "TypeMeta")
        _add(unknown, "raw", 2, _Proto.TYPE_BYTES)
        event = self._message("WatchEvent")
        _add(event, "type", 1, _Proto.TYPE_STRING)
        _add(event, "object", 2, "Raw")
        _add(self._message("PartialObjectMetadata"), "metadata", 1, _OBJECT_META)
        partials = self._message("PartialObjectMetadataList")
        _add(partials, "metadata", 1, _LIST_META)
        _add(partials, "items", 2, "PartialObjectMetadata", repeated=True)

    def _define(self, name: str) -> None:
        self._fill(self._message(_title(name)), name, facts.schema(name))

    def _fill(self, message: Any, name: str, schema: Schema) -> None:
        """Add the fields that the table has under `name`; `schema` is of the outermost, whose JSON they share."""
        for number, flag, field in self.rows(name):
            if flag == ">":
                inner = self._message(f"{message.name}_inline{number}")
                self._fill(inner, field, schema)
                _add(message, f"inline{number}", number, inner.name)
            elif name == SCHEMA_PROPS and field in _UNIONS:
                self._union(message, field, number)
            else:
                self._field(message, field, number, schema)

    def _field(self, message: Any, name: str, number: int, owner: Schema) -> None:
        field = owner.properties.get(name)
        if field is None:
            return
        name = field_name(name, number)
        if field.code == s.MAP:
            self._map(message, name, number, _kind(_element(field), lambda items: self._items(message, name, items)))
        elif field.code == s.ARRAY:
            _add(message, name, number, _kind(_element(field)), repeated=True)
        else:
            _add(message, name, number, _kind(field))

    def _items(self, owner: Any, name: str, items: Schema) -> str:
        """A list as a map's value travels as a message that holds the list."""
        message = self._message(f"{owner.name}_{name}")
        _add(message, "items", 1, _kind(items), repeated=True)
        return str(message.name)

    def _map(self, message: Any, name: str, number: int, kind: int | str) -> None:
        # The library insists on this form of the name.
        entry = message.nested_type.add(name="".join(p[:1].upper() + p[1:] for p in name.split("_")) + "Entry")
        entry.options.map_entry = True
        _add(entry, "key", 1, _Proto.TYPE_STRING)
        _add(entry, "value", 2, kind)
        _add(message, name, number, f"{message.name}.{entry.name}", repeated=True)

    def _union(self, message: Any, name: str, number: int) -> None:
        schema, other, other_name = _UNIONS[name]
        union = self._message(f"{message.name}_{name}")
        _add(union, "schema", schema, SCHEMA_PROPS)
        kind = {"schemas": SCHEMA_PROPS, "allows": _Proto.TYPE_BOOL, "property": _Proto.TYPE_STRING}[other_name]
        _add(union, other_name, other, kind, repeated=other_name != "allows")
        if name == "dependencies":
            self._map(message, name, number, union.name)
        else:
            _add(message, name, number, union.name)


def _element(field: Schema) -> Schema:
    found = field.items if field.code == s.ARRAY else field.additional
    assert found is not None, "lists and maps say what they hold"
    return found


def _kind(field: Schema, items: Callable[[Schema], str] | None = None) -> int | str:
    """The type of a value: a scalar's number or a message's name."""
    if field.code in _SCALARS:
        return int(_SCALARS[field.code])
    if field.code == s.ARRAY and items is not None:
        return items(_element(field))
    name: str = WRAPPED.get(field.code) or field.name
    return name


def _add(message: Any, name: str, number: int, kind: int | str, *, repeated: bool = False) -> None:
    field = message.field.add(name=name, number=number)
    field.label = _Proto.LABEL_REPEATED if repeated else _Proto.LABEL_OPTIONAL
    if isinstance(kind, int):
        field.type = kind
    else:
        field.type = _Proto.TYPE_MESSAGE
        field.type_name = f".k8s.{kind if '.' in kind and not kind.startswith('io.') else _title(kind)}"
