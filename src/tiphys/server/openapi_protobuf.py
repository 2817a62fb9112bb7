"""An OpenAPI v2 document in protobuf: the only encoding in which kubectl asks for it, to validate lists of objects.

Written as it stands, field by field, from a table of numbers; what is in no field (`x-...`) becomes a vendor extension,
whose value travels as YAML, that is, as its JSON. Source: https://github.com/google/gnostic-models `OpenAPIv2.proto`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from tiphys.api.resource import Json

# As clients ask for it, and as it is called in answers, where an @ has no place.
ASKED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

Write = Callable[[int, Any], bytes]
Fields = Mapping[str, tuple[int, Write]]


def encode(document: Json) -> bytes:
    return _object(document, _DOCUMENT, 16)


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def _bytes(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _text(number: int, value: Any) -> bytes:
    return _bytes(number, str(value).encode())


def _texts(number: int, values: Any) -> bytes:
    return b"".join(_text(number, value) for value in values)


def _flag(number: int, value: Any) -> bytes:
    return _varint(number << 3) + (b"\1" if value else b"\0")


def _whole(number: int, value: Any) -> bytes:
    return _varint(number << 3) + _varint(int(value) & (1 << 64) - 1)


def _real(number: int, value: Any) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _any(number: int, value: Any) -> bytes:
    return _bytes(number, _bytes(2, orjson.dumps(value) + b"\n"))


def _anys(number: int, values: Any) -> bytes:
    return b"".join(_any(number, value) for value in values)


def _object(value: Json, fields: Fields, extensions: int = 0) -> bytes:
    made = []
    for name, child in value.items():
        known = fields.get(name)
        if known is not None:
            made.append(known[1](known[0], child))
        elif extensions and name.startswith("x-"):
            made.append(_bytes(extensions, _text(1, name) + _any(2, child)))
    return b"".join(made)


def _of(fields: Fields, extensions: int = 0) -> Write:
    return lambda number, value: _bytes(number, _object(value, fields, extensions))


def _named(number: int, values: Json, write: Write) -> bytes:
    """A map as a list of names and values."""
    return b"".join(_bytes(number, _text(1, name) + write(2, value)) for name, value in values.items())


def _schema(number: int, value: Any) -> bytes:
    return _bytes(number, _object(value, _SCHEMA, 31))


def _schemas(number: int, values: Any) -> bytes:
    return b"".join(_schema(number, value) for value in values)


def _properties(number: int, value: Any) -> bytes:
    return _bytes(number, _named(1, value, _schema))


def _type(number: int, value: Any) -> bytes:
    return _bytes(number, _texts(1, value if isinstance(value, list) else [value]))


def _items(number: int, value: Any) -> bytes:
    return _bytes(number, _schemas(1, value if isinstance(value, list) else [value]))


def _additional(number: int, value: Any) -> bytes:
    return _bytes(number, _flag(2, value) if isinstance(value, bool) else _schema(1, value))


def _reference(value: Json) -> bytes:
    return _bytes(2, _object(value, {"$ref": (1, _text), "description": (2, _text)}))


def _parameter(value: Json) -> bytes:
    if value.get("in") == "body":
        return _bytes(1, _object(value, _BODY, 6))
    place, fields, extensions = _PLACES.get(str(value.get("in")), _PLACES["query"])
    return _bytes(2, _bytes(place, _object(value, fields, extensions)))


def _parameters(number: int, values: Any) -> bytes:
    made = (_reference(value) if "$ref" in value else _bytes(1, _parameter(value)) for value in values)
    return b"".join(_bytes(number, one) for one in made)


def _parameter_definitions(number: int, values: Any) -> bytes:
    return _bytes(number, _named(1, values, lambda at, value: _bytes(at, _parameter(value))))


def _responses(number: int, values: Any) -> bytes:
    def one(at: int, value: Json) -> bytes:
        return _bytes(at, _reference(value) if "$ref" in value else _bytes(1, _object(value, _RESPONSE, 5)))

    return _bytes(number, _named(1, values, one))


def _paths(number: int, values: Any) -> bytes:
    return _bytes(number, _named(2, values, _of(_PATH_ITEM, 10)))


def _simple(*, empty: bool) -> dict[str, tuple[int, Write]]:
    """A parameter that is no body; those of a query have one field more, in the middle."""
    names = ("type", "format", "", "collectionFormat", "default")
    first = {"required": (1, _flag), "in": (2, _text), "description": (3, _text), "name": (4, _text)}
    writes: tuple[Write, ...] = (_text, _text, _text, _text, _any)
    rest = {name: (at, write) for at, (name, write) in enumerate(zip(names, writes, strict=True), 5 + empty) if name}
    return {**first, **rest, "uniqueItems": (19 + empty, _flag), "enum": (20 + empty, _anys)}


_BODY: Fields = {
    "description": (1, _text), "name": (2, _text), "in": (3, _text), "required": (4, _flag), "schema": (5, _schema),
}  # fmt: skip
# Where a parameter stands: its number, its fields, and the number of its extensions.
_PLACES: dict[str, tuple[int, Fields, int]] = {
    "header": (1, _simple(empty=False), 22), "query": (3, _simple(empty=True), 23),
    "path": (4, _simple(empty=False), 22),
}  # fmt: skip
_SCHEMA: Fields = {
    "$ref": (1, _text), "format": (2, _text), "title": (3, _text), "description": (4, _text), "default": (5, _any),
    "multipleOf": (6, _real), "maximum": (7, _real), "exclusiveMaximum": (8, _flag), "minimum": (9, _real),
    "exclusiveMinimum": (10, _flag), "maxLength": (11, _whole), "minLength": (12, _whole), "pattern": (13, _text),
    "maxItems": (14, _whole), "minItems": (15, _whole), "uniqueItems": (16, _flag), "maxProperties": (17, _whole),
    "minProperties": (18, _whole), "required": (19, _texts), "enum": (20, _anys),
    "additionalProperties": (21, _additional), "type": (22, _type), "items": (23, _items), "allOf": (24, _schemas),
    "properties": (25, _properties), "readOnly": (27, _flag), "example": (30, _any),
}  # fmt: skip
_RESPONSE: Fields = {
    "description": (1, _text), "schema": (2, lambda number, value: _bytes(number, _schema(1, value))),
}  # fmt: skip
_OPERATION = _of({
    "tags": (1, _texts), "summary": (2, _text), "description": (3, _text), "operationId": (5, _text),
    "produces": (6, _texts), "consumes": (7, _texts), "parameters": (8, _parameters), "responses": (9, _responses),
    "schemes": (10, _texts), "deprecated": (11, _flag),
}, 13)  # fmt: skip
_PATH_ITEM: Fields = {
    "$ref": (1, _text), "get": (2, _OPERATION), "put": (3, _OPERATION), "post": (4, _OPERATION),
    "delete": (5, _OPERATION), "options": (6, _OPERATION), "head": (7, _OPERATION), "patch": (8, _OPERATION),
    "parameters": (9, _parameters),
}  # fmt: skip
_DOCUMENT: Fields = {
    "swagger": (1, _text), "info": (2, _of({"title": (1, _text), "version": (2, _text), "description": (3, _text)})),
    "host": (3, _text), "basePath": (4, _text), "schemes": (5, _texts), "consumes": (6, _texts),
    "produces": (7, _texts), "paths": (8, _paths), "definitions": (9, _properties),
    "parameters": (10, _parameter_definitions),
}  # fmt: skip
