"""OpenAPI v2 as kubectl asks for it before it validates a list of objects."""

from __future__ import annotations

import hashlib

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tiphys.server.openapi_protobuf import ASKED, MEDIA_TYPE, encode

_KINDS = {"text": 9, "flag": 8}
# As much of the document as the test looks at: message -> (number, name, kind, repeated).
_MESSAGES = {
    "Document": [(1, "swagger", "text", 0), (8, "paths", "Paths", 0), (9, "definitions", "Definitions", 0)],
    "Paths": [(2, "path", "NamedPathItem", 1)],
    "NamedPathItem": [(1, "name", "text", 0), (2, "value", "PathItem", 0)],
    "PathItem": [(2, "get", "Operation", 0), (4, "post", "Operation", 0)],
    "Operation": [
        (5, "operation_id", "text", 0), (8, "parameters", "ParametersItem", 1), (13, "extensions", "NamedAny", 1),
    ],
    "ParametersItem": [(1, "parameter", "Parameter", 0)],
    "Parameter": [(1, "body", "Body", 0), (2, "non_body", "NonBody", 0)],
    "Body": [(2, "name", "text", 0), (4, "required", "flag", 0), (5, "schema", "Schema", 0)],
    "NonBody": [(3, "query", "Query", 0)],
    "Query": [(2, "in", "text", 0), (4, "name", "text", 0), (6, "type", "text", 0), (20, "unique", "flag", 0)],
    "Definitions": [(1, "named", "NamedSchema", 1)],
    "NamedSchema": [(1, "name", "text", 0), (2, "value", "Schema", 0)],
    "Schema": [
        (1, "ref", "text", 0), (22, "type", "Texts", 0), (23, "items", "Items", 0),
        (25, "properties", "Definitions", 0), (31, "extensions", "NamedAny", 1),
    ],
    "Texts": [(1, "value", "text", 1)],
    "Items": [(1, "schema", "Schema", 1)],
    "NamedAny": [(1, "name", "text", 0), (2, "value", "Any", 0)],
    "Any": [(2, "yaml", "text", 0)],
}  # fmt: skip


def parsed(data: bytes):
    name = f"t{hashlib.md5(data).hexdigest()}"
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package=name, syntax="proto2")
    for message, fields in _MESSAGES.items():
        made = file.message_type.add(name=message)
        for number, field, kind, repeated in fields:
            one = made.field.add(name=field, number=number, label=3 if repeated else 1)
            if kind in _KINDS:
                one.type = _KINDS[kind]
            else:
                one.type, one.type_name = 11, f".{name}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{name}.Document")).FromString(data)


async def test_the_document_is_served_in_the_protobuf_that_kubectl_reads(api):
    response = await api.respond("GET", "/openapi/v2", accept=ASKED)
    assert (response.status, response.content_type) == (200, MEDIA_TYPE)
    document = parsed(response.body)
    assert document.swagger == "2.0"
    pods = next(path.value for path in document.paths.path if path.name == "/api/v1/namespaces/{namespace}/pods")
    body, *query = (item.parameter for item in pods.post.parameters)
    assert (body.body.name, body.body.required) == ("body", True)
    assert body.body.schema.ref == "#/definitions/io.k8s.api.core.v1.Pod"
    found = {one.non_body.query.name: one.non_body.query for one in query}
    assert (getattr(found["fieldValidation"], "in"), found["fieldValidation"].type) == ("query", "string")
    assert found["fieldValidation"].unique
    pod = next(named.value for named in document.definitions.named if named.name == "io.k8s.api.core.v1.Pod")
    (kinds,) = [e.value.yaml for e in pod.extensions if e.name == "x-kubernetes-group-version-kind"]
    assert '"kind":"Pod"' in kinds
    assert list(pod.type.value) == ["object"]
    again = await api.respond("GET", "/openapi/v2", accept=MEDIA_TYPE)
    assert again.body == response.body


async def test_other_encodings_are_not_acceptable(api):
    code, status = await api("GET", "/openapi/v2", accept="application/com.github.proto-openapi.spec.v9+protobuf")
    assert (code, status["reason"]) == (406, "NotAcceptable")
    assert (await api.ok("GET", "/openapi/v2", accept="application/json, */*"))["swagger"] == "2.0"


def test_what_schemas_hold_is_kept():
    schema = {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}
    document = parsed(encode({"swagger": "2.0", "definitions": {"a": {"properties": {"l": schema}}}}))
    (named,) = document.definitions.named[0].value.properties.named
    assert (named.name, list(named.value.type.value)) == ("l", ["array"])
    assert list(named.value.items.schema[0].type.value) == ["string"]
    assert [(e.name, e.value.yaml) for e in named.value.extensions] == [("x-kubernetes-list-type", '"set"\n')]
