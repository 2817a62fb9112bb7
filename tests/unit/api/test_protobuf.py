"""Every built-in kind survives the way into protobuf and back, and the bytes are those that Go clients exchange."""

from __future__ import annotations

import pytest

from tiphys.api import facts, protobuf
from tiphys.api import schema as s
from tiphys.api.errors import BadRequest, UnsupportedMediaType
from tiphys.api.schema import Schema
from tiphys.kinds.registry import builtin

_VALUES = {
    s.STRING: "text", s.INTEGER: 7, s.BOOLEAN: True, s.NUMBER: 2.5, s.BYTES: "aGk=", s.TIME: "2026-01-02T03:04:05Z",
    s.MICRO_TIME: "2026-01-02T03:04:05.000006Z", s.QUANTITY: "1500m", s.INT_OR_STRING: "50%",
    s.FREE: {"free": [1, None]}, s.ANY: {"any": {"b": 1}},
}  # fmt: skip


def sample(field: Schema, depth: int = 0):
    """A value with every field of its type set, down to a depth; what an object is does not travel with it."""
    if field.code == s.OBJECT:
        fields = {name: child for name, child in field.properties.items() if name not in ("apiVersion", "kind")}
        if "metadata" not in fields:
            fields = field.properties
        inner = {name: sample(child, depth + 1) for name, child in fields.items() if depth < 9}
        return {name: value for name, value in inner.items() if value not in ({}, [], None)}
    if field.code == s.ARRAY:
        return [value for value in [sample(field.items, depth + 1)] if value not in ({}, [])]
    if field.code == s.MAP:
        return {key: value for key, value in [("key", sample(field.additional, depth + 1))] if value not in ({}, [])}
    return _VALUES[field.code]


def kinds():
    for resource in builtin():
        # The schemas in a CustomResourceDefinition hold values of several types; they have a test of their own.
        if resource.kind == "CustomResourceDefinition":
            continue
        if resource.schema and not resource.virtual and protobuf.speaks(resource.api_version, resource.kind):
            yield resource


@pytest.mark.parametrize("resource", list(kinds()), ids=lambda r: f"{r.group_resource}/{r.version}")
def test_a_full_object_comes_back_as_it_went(resource):
    obj = {**sample(facts.schema(resource.schema)), "apiVersion": resource.api_version, "kind": resource.kind}
    assert protobuf.decode(protobuf.encode(obj)) == obj


def test_most_kinds_are_spoken():
    spoken = {resource.kind for resource in kinds()}
    assert {"Pod", "Deployment", "APIService", "Lease", "Event"} <= spoken


def test_schemas_of_custom_resources_hold_schemas_booleans_and_lists():
    props = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "$ref": "#/x",
        "properties": {
            "a": {"type": "array", "items": {"type": "string"}},
            "b": {"additionalProperties": {"type": "integer", "default": 3, "minimum": 0}},
            "c": {"additionalProperties": True, "enum": ["x", 1, None]},
            "d": {"items": [{"type": "string"}, {"type": "integer"}]},
            "e": {"dependencies": {"x": ["y"], "z": {"type": "object"}}},
            "f": {"additionalItems": False},
        },
    }
    obj = {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "x"},
        "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": props}, "subresources": {"status": {}}}]},
    }  # fmt: skip
    assert protobuf.decode(protobuf.encode(obj)) == obj


def test_the_bytes_are_those_of_go():
    obj = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "creationTimestamp": "1970-01-01T00:00:05Z"},
        "data": {"k": "v"},
    }  # fmt: skip
    meta = b"\x0a\x01a" + b"\x42\x04\x08\x05\x10\x00"
    raw = b"\x0a" + bytes([len(meta)]) + meta + b"\x12\x06\x0a\x01k\x12\x01v"
    about = b"\x0a\x02v1\x12\x09ConfigMap"
    assert protobuf.encode(obj) == b"k8s\0" + b"\x0a" + bytes([len(about)]) + about + b"\x12" + bytes([len(raw)]) + raw


def test_a_frame_of_a_watch_begins_with_its_length():
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    frame = protobuf.watch_frame("ADDED", obj)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert frame[4:11] == b"\x0a\x05ADDED"
    assert protobuf.encode(obj) in frame


def test_zeros_that_may_be_absent_are_kept_and_others_are_not():
    obj = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "", "generation": 0},
        "spec": {"replicas": 0, "paused": False},
    }  # fmt: skip
    assert protobuf.decode(protobuf.encode(obj))["spec"] == {"replicas": 0}


@pytest.mark.parametrize("body", [b"", b"k8s", b"{}", b"k8s\0\xff", b"k8s\0\x12\x05ab", b"k8s\0" + b"\x0b" * 300])
def test_what_is_not_protobuf_is_refused(body):
    with pytest.raises((BadRequest, UnsupportedMediaType)):
        protobuf.decode(body)


def test_a_message_that_is_too_deep_is_refused():
    raw = b""
    for _ in range(5000):
        raw = b"\xea\x01" + len(b"\x0a\x01a\x12" + raw).to_bytes(1, "big") + raw if len(raw) < 100 else raw
    about = b"\x0a\x17apiextensions.k8s.io/v1\x12\x18CustomResourceDefinition"
    body = b"k8s\0\x0a" + bytes([len(about)]) + about + b"\x12" + bytes([len(raw)]) + raw
    with pytest.raises(BadRequest):
        protobuf.decode(body)
