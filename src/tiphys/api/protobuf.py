"""Bodies in `application/vnd.kubernetes.protobuf`, as Go clients send them for built-in types, made into plain objects.

A message is read by the type's schema, which says what a field is, and the table `wire.json`, which says under which
number it travels (`tools/generate_wire.py`). Zeros of fields that cannot be absent are left out, as in JSON.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from tiphys.api import facts
from tiphys.api import schema as s
from tiphys.api.errors import BadRequest, UnsupportedMediaType
from tiphys.api.schema import Schema
from tiphys.api.time import rfc3339, rfc3339_micro

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_OPTIONAL, _INLINE = "*", ">"
# (flag, JSON name or, for inlined structs, the type's name)
_Field = tuple[str, str]
_Value = int | bytes


@cache
def _table() -> dict[str, str]:
    table: dict[str, str] = orjson.loads(Path(__file__).with_name("wire.json").read_bytes())
    return table


@cache
def _fields(name: str) -> dict[int, _Field]:
    found: dict[int, _Field] = {}
    for token in _table().get(name, "").split():
        digits = next(index for index, char in enumerate(token) if not char.isdigit())
        found[int(token[:digits])] = (token[digits], token[digits + 1 :])
    return found


def decode(data: bytes) -> dict[str, Any]:
    """The object of an enveloped body. Raises BadRequest, and UnsupportedMediaType for a type that has no table."""
    if not data.startswith(_MAGIC):
        raise BadRequest("the body is not Kubernetes protobuf: it does not begin with its four magic bytes")
    try:
        envelope = dict(_parts(memoryview(data)[len(_MAGIC) :]))
        about = dict(_parts(_bytes(envelope.get(1, b""))))
        api_version, kind = _text(about.get(1, b"")), _text(about.get(2, b""))
        name = _definition(api_version, kind)
        obj = _message(_bytes(envelope.get(2, b"")), name, facts.schema(name))
    except (ValueError, IndexError, struct.error) as error:
        raise BadRequest(f"the body is not a protobuf message of its type: {error}") from None
    return {"apiVersion": api_version, "kind": kind, **obj}


def _definition(api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    # Options are known to every group and mean the same in all.
    name = f"{_META}{kind}" if kind.endswith("Options") else facts.gvk(group, version, kind)
    if name is None or name not in _table():
        raise UnsupportedMediaType(f"{api_version}, Kind={kind} is not served as protobuf; send application/json")
    return name


def _parts(data: bytes | memoryview) -> Iterator[tuple[int, _Value]]:
    """(field number, value) for each field of a message; lengths are checked, groups are refused."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        value: _Value
        if kind == _VARINT:
            value, at = _varint(data, at)
        elif kind == _BYTES:
            length, at = _varint(data, at)
            if at + length > end:
                raise ValueError("cut short")
            value, at = bytes(data[at : at + length]), at + length
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
            value, at = bytes(data[at : at + length]), at + length
        else:
            raise ValueError(f"wire type {kind}")
        yield tag >> 3, value


def _varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
        if shift > 63:
            raise ValueError("a number that is too long")


def _bytes(value: _Value) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where bytes belong")
    return value


def _text(value: _Value) -> str:
    return _bytes(value).decode()


def _whole(value: _Value) -> int:
    """A varint as a signed 64-bit number."""
    if not isinstance(value, int):
        raise ValueError("bytes where a number belongs")
    return value - (1 << 64) if value >= 1 << 63 else value


def _message(data: bytes, name: str, schema: Schema) -> dict[str, Any]:
    fields = _fields(name)
    obj: dict[str, Any] = {}
    for number, value in _parts(data):
        flag, field_name = fields.get(number, ("", ""))
        if flag == _INLINE:
            obj.update(_message(_bytes(value), field_name, schema))
            continue
        field = schema.properties.get(field_name)
        if not flag or field is None:
            continue
        if field.code == s.ARRAY:
            assert field.items is not None, "a list has items"
            obj.setdefault(field_name, []).append(_value(value, field.items))
        elif field.code == s.MAP:
            _add_entry(obj.setdefault(field_name, {}), _bytes(value), field)
        else:
            decoded = _value(value, field)
            if flag == _OPTIONAL or not _is_zero(decoded, field):
                obj[field_name] = decoded
    return obj


def _is_zero(value: Any, field: Schema) -> bool:
    """What Go's `omitempty` leaves out, and structs that hold nothing."""
    return value is None or (not value and (field.code != s.OBJECT or not field.inline))


def _add_entry(into: dict[str, Any], data: bytes, field: Schema) -> None:
    parts = dict(_parts(data))
    assert field.additional is not None, "a map has values"
    if field.additional.code == s.ARRAY:
        # A list as a map's value travels as a message that holds the list.
        items = field.additional.items
        assert items is not None, "a list has items"
        value: Any = [_value(item, items) for _, item in _parts(_bytes(parts.get(2, b"")))]
    else:
        value = _value(parts.get(2, b""), field.additional)
    into[_text(parts.get(1, b""))] = value


def _value(value: _Value, field: Schema) -> Any:
    if field.code == s.OBJECT:
        return _message(_bytes(value), field.name, field)
    return _SCALARS[field.code](value)


def _time(value: _Value) -> str | None:
    parts = dict(_parts(_bytes(value)))
    return rfc3339(float(_whole(parts.get(1, 0)))) if parts else None


def _micro_time(value: _Value) -> str | None:
    parts = dict(_parts(_bytes(value)))
    return rfc3339_micro(_whole(parts.get(1, 0)) + _whole(parts.get(2, 0)) / 1e9) if parts else None


def _int_or_string(value: _Value) -> int | str:
    parts = dict(_parts(_bytes(value)))
    return _text(parts.get(3, b"")) if _whole(parts.get(1, 0)) == 1 else _whole(parts.get(2, 0))


def _raw(value: _Value) -> Any:
    """Embedded JSON: RawExtension, FieldsV1 and the like hold its text in field 1."""
    text = dict(_parts(_bytes(value))).get(1, b"")
    return orjson.loads(_bytes(text)) if text else None


_SCALARS: dict[int, Callable[[_Value], Any]] = {
    s.STRING: _text,
    s.INTEGER: _whole,
    s.BOOLEAN: lambda value: bool(value),
    s.NUMBER: lambda value: struct.unpack("<d", _bytes(value))[0],
    s.BYTES: lambda value: base64.b64encode(_bytes(value)).decode(),
    s.TIME: _time,
    s.MICRO_TIME: _micro_time,
    s.QUANTITY: lambda value: _text(dict(_parts(_bytes(value))).get(1, b"")),
    s.INT_OR_STRING: _int_or_string,
    s.FREE: _raw,
    s.ANY: _raw,
}
