"""Objects in `application/vnd.kubernetes.protobuf`, the encoding that Go clients prefer for built-in types.

`decode` and `encode` are for whole bodies, `watch_frame` is for one event of a watch. A `Codec` turns the JSON form of
one definition into what its message is made from, and back; most types need no conversion, and their dicts go to the
library as they are. Zeros of fields that cannot be absent are left out, as in JSON.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import cache
from typing import Any

import orjson

from tiphys.api import facts
from tiphys.api import schema as s
from tiphys.api.errors import BadRequest, UnsupportedMediaType
from tiphys.api.schema import Schema
from tiphys.api.time import parse, rfc3339, rfc3339_micro

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_PARTIAL = ("PartialObjectMetadata", "PartialObjectMetadataList")
_OPTIONAL, _INLINE = "*", ">"

Json = dict[str, Any]
Convert = Callable[[Any], Any]


@cache
def _messages() -> Any:
    # The library is loaded by the first who speaks protobuf.
    from tiphys.api.protobuf_types import Messages

    return Messages()


def speaks(api_version: str, kind: str) -> bool:
    """Whether the kind can travel as protobuf: built-in kinds can, custom resources and tables cannot."""
    return _definition(api_version, kind) is not None


def decode(data: bytes) -> Json:
    """The object of an enveloped body. Raises BadRequest, and UnsupportedMediaType for a kind that has no table."""
    from google.protobuf.message import DecodeError

    if not data.startswith(_MAGIC):
        raise BadRequest("the body is not Kubernetes protobuf: it does not begin with its four magic bytes")
    try:
        envelope = _messages().of("Unknown").FromString(data[len(_MAGIC) :])
        api_version, kind = envelope.typeMeta.apiVersion, envelope.typeMeta.kind
        name = _definition(api_version, kind)
        if name is None:
            raise UnsupportedMediaType(f"{api_version}, Kind={kind} is not served as protobuf; send application/json")
        codec = _codec(name)
        obj = codec.read(codec.message.FromString(envelope.raw))
    except (DecodeError, ValueError) as error:
        raise BadRequest(f"the body is not a protobuf message of its type: {error}") from None
    return {"apiVersion": api_version, "kind": kind, **obj}


def encode(obj: Json) -> bytes:
    """The enveloped body of an object, a list or a Status. Raises KeyError for a kind that has no table."""
    api_version, kind = obj["apiVersion"], obj["kind"]
    name = _definition(api_version, kind)
    if name is None:
        raise KeyError(f"{api_version}, Kind={kind}")
    codec = _codec(name)
    raw = codec.message(**codec.write(obj)).SerializeToString()
    about = {"apiVersion": api_version, "kind": kind}
    return _MAGIC + bytes(_messages().of("Unknown")(typeMeta=about, raw=raw).SerializeToString())


def watch_frame(kind: str, obj: Json) -> bytes:
    """One event of a watch, preceded by its length: four bytes, big-endian."""
    event = _messages().of("WatchEvent")(type=kind, object={"raw": encode(obj)}).SerializeToString()
    return len(event).to_bytes(4, "big") + bytes(event)


@cache
def _definition(api_version: str, kind: str) -> str | None:
    group, _, version = api_version.rpartition("/")
    if group == "meta.k8s.io" and kind in _PARTIAL:
        return kind
    # Options and Status are known to every group and mean the same in all.
    name = f"{_META}{kind}" if kind.endswith("Options") or kind == "Status" else facts.gvk(group, version, kind)
    return name if name in _messages().table else None


class _Field:
    """`write` and `read` are None where the value is the same in both worlds."""

    __slots__ = ("keeps_zero", "name", "read", "write")

    def __init__(self, name: str, write: Convert | None, read: Convert | None, *, keeps_zero: bool) -> None:
        self.name, self.write, self.read, self.keeps_zero = name, write, read, keeps_zero


class Codec:
    """Both directions of one definition. `identical` once built: `write` would change nothing."""

    def __init__(self, name: str) -> None:
        self.message = _messages().of(name)
        self._by_json: dict[str, _Field] = {}
        self._by_name: dict[str, tuple[str, _Field]] = {}
        # Structs whose fields stand among ours in JSON and apart on the wire, by their wire name.
        self._inlined: dict[str, Codec] = {}
        # Asked before it is built only by a type that contains itself, which is then written with care.
        self.identical = False

    @classmethod
    def inline(cls, name: str, schema: Schema) -> Codec:
        """The codec of a struct inlined into the type of `schema`: only its fields count, its message does not."""
        codec = cls.__new__(cls)
        codec._by_json, codec._by_name, codec._inlined = {}, {}, {}
        codec._fill(name, schema)
        return codec

    def build(self, name: str) -> None:
        if name in _PARTIAL:
            self._build_partial(name)
            return
        schema = facts.schema(name)
        self._fill(name, schema)
        self.identical = not self._inlined and all(
            name in self._by_json and self._by_json[name].write is None and self._by_json[name].name == name
            for name in schema.properties
        )

    def _fill(self, name: str, schema: Schema) -> None:
        for number, flag, json_name in _messages().rows(name):
            if flag == _INLINE:
                self._inlined[f"inline{number}"] = Codec.inline(json_name, schema)
            elif json_name in schema.properties:
                self._add(json_name, self._field(schema, json_name, number, flag))

    def _build_partial(self, name: str) -> None:
        meta = _codec(f"{_META}{'ListMeta' if name.endswith('List') else 'ObjectMeta'}")
        self._add("metadata", _Field("metadata", _writer(meta), meta.read, keeps_zero=False))
        if name.endswith("List"):
            item = _codec(_PARTIAL[0])
            self._add("items", _Field("items", _each(item.write), _each(item.read), keeps_zero=True))

    def _add(self, json_name: str, field: _Field) -> None:
        self._by_json[json_name] = field
        self._by_name[field.name] = (json_name, field)

    def _field(self, owner: Schema, json_name: str, number: int, flag: str) -> _Field:
        from tiphys.api.protobuf_types import field_name

        field = owner.properties[json_name]
        write, read = _unions(owner.name).get(json_name) or _converters(field)
        # The others are left out by Go's `omitempty`, and structs that hold nothing.
        keeps_zero = flag == _OPTIONAL or json_name in owner.required or (field.code == s.OBJECT and field.inline)
        return _Field(field_name(json_name, number), write, read, keeps_zero=keeps_zero)

    def write(self, obj: Json) -> Json:
        """What the message is made from; what does not travel (apiVersion, kind) is left out."""
        made: Json = {}
        fields = self._by_json
        for name, value in obj.items():
            field = fields.get(name)
            if field is not None and value is not None:
                made[field.name] = field.write(value) if field.write else value
        for name, codec in self._inlined.items():
            inner = codec.write(obj)
            if inner:
                made[name] = inner
        return made

    def read(self, message: Any) -> Json:
        obj: Json = {}
        for descriptor, value in message.ListFields():
            known = self._by_name.get(descriptor.name)
            if known is not None:
                name, field = known
                found = field.read(value) if field.read else value
                if found or (field.keeps_zero and found is not None):
                    obj[name] = found
            elif descriptor.name in self._inlined:
                obj |= self._inlined[descriptor.name].read(value)
        return obj


_codecs: dict[str, Codec] = {}


def _codec(name: str) -> Codec:
    codec = _codecs.get(name)
    if codec is None:
        # Known before it is built, for types that contain themselves.
        codec = _codecs[name] = Codec(name)
        codec.build(name)
    return codec


def _writer(codec: Codec) -> Convert | None:
    return None if codec.identical else codec.write


def _each(convert: Convert) -> Convert:
    return lambda values: [convert(value) for value in values]


def _converters(field: Schema) -> tuple[Convert | None, Convert | None]:
    """(write, read) of a field's values."""
    if field.code == s.OBJECT:
        codec = _codec(field.name)
        return _writer(codec), codec.read
    if field.code == s.ARRAY:
        assert field.items is not None, "a list has items"
        write, read = _converters(field.items)
        return (_each(write) if write else None), (_each(read) if read else list)
    if field.code == s.MAP:
        assert field.additional is not None, "a map has values"
        write, read = _converters(field.additional)
        if field.additional.code == s.ARRAY:
            write, read = _in_message(write), _out_of_message(read)
        return (_each_value(write) if write else None), (_each_value(read) if read else dict)
    return _SCALARS.get(field.code, (None, None))


def _each_value(convert: Convert) -> Convert:
    return lambda values: {key: convert(value) for key, value in values.items()}


def _in_message(write: Convert | None) -> Convert:
    return lambda items: {"items": write(items) if write else items}


def _out_of_message(read: Convert | None) -> Convert:
    return lambda message: read(message.items) if read else list(message.items)


def _write_time(text: str) -> Json:
    moment = parse(text)
    return {"seconds": int(moment.timestamp() // 1), "nanos": moment.microsecond * 1000}


def _read_raw(message: Any) -> Any:
    """Embedded JSON: RawExtension, FieldsV1 and the like hold its text."""
    return orjson.loads(message.raw) if message.raw else None


_SCALARS: dict[int, tuple[Convert, Convert]] = {
    s.BYTES: (base64.b64decode, lambda value: base64.b64encode(value).decode()),
    s.TIME: (_write_time, lambda m: rfc3339(float(m.seconds)) if m.ListFields() else None),
    s.MICRO_TIME: (
        _write_time, lambda m: rfc3339_micro(m.seconds + m.nanos / 1e9) if m.ListFields() else None,
    ),
    s.QUANTITY: (lambda value: {"string": str(value)}, lambda m: m.string),
    s.INT_OR_STRING: (
        lambda value: {"type": 1, "strVal": value} if isinstance(value, str) else {"type": 0, "intVal": value},
        lambda m: m.strVal if m.type == 1 else m.intVal,
    ),
    s.FREE: (lambda value: {"raw": orjson.dumps(value)}, _read_raw),
    s.ANY: (lambda value: {"raw": orjson.dumps(value)}, _read_raw),
}  # fmt: skip


def _unions(name: str) -> dict[str, tuple[Convert, Convert]]:
    """The fields of a JSON schema that hold a schema or something else: more schemas, a bool, or names of fields."""
    from tiphys.api.protobuf_types import SCHEMA_PROPS

    if name != SCHEMA_PROPS:
        return {}
    codec = _codec(name)

    def write(value: Any) -> Json:
        if isinstance(value, dict):
            return {"schema": codec.write(value)}
        if isinstance(value, bool):
            return {"allows": value}
        texts = all(isinstance(item, str) for item in value)
        return {"property": value} if texts else {"schemas": [codec.write(item) for item in value]}

    def write_or_bool(value: Any) -> Json:
        return write(value) | ({"allows": True} if isinstance(value, dict) else {})

    def read(message: Any) -> Any:
        fields = {descriptor.name: value for descriptor, value in message.ListFields()}
        if "schema" in fields:
            return codec.read(fields["schema"])
        if "schemas" in fields:
            return [codec.read(item) for item in fields["schemas"]]
        return list(fields["property"]) if "property" in fields else fields.get("allows", False)

    return {
        "additionalItems": (write_or_bool, read), "additionalProperties": (write_or_bool, read),
        "items": (write, read), "dependencies": (_each_value(write), _each_value(read)),
    }  # fmt: skip
