from __future__ import annotations

import json

import pytest

from conformance.conftest import CRDS
from conformance.marks import upstream

pytestmark = pytest.mark.root

LOOSE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def definition(group: str, plural: str = "foos", kind: str = "Foo", schema: dict | None = None, **facts) -> dict:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema or LOOSE}}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [version]} | facts
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"}, "spec": spec,
    }  # fmt: skip


def custom(group: str, name: str, **fields) -> dict:
    return {"apiVersion": f"{group}/v1", "kind": "Foo", "metadata": {"name": name}, **fields}


@upstream(
    "[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition creating/deleting custom resource definition objects works [Conformance]"
)
def test_a_definition_comes_and_goes(rest, crds, group, namespace):
    crds(definition(group))
    rest.ok("DELETE", f"{CRDS}/foos.{group}")
    rest.until(f"{CRDS}/foos.{group}", lambda answer: answer.code == 404)
    rest.until(f"/apis/{group}/v1/namespaces/{namespace}/foos", lambda answer: answer.code == 404)


@upstream(
    "[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition listing custom resource definition objects works [Conformance]"
)
def test_definitions_are_listed_and_deleted_by_label(rest, crds, group):
    for number in range(10):
        labelled = definition(group, f"foos{number}", f"Foo{number}")
        labelled["metadata"]["labels"] = {"e2e": group}
        crds(labelled)
    crds(definition(group, "others", "Other"))
    assert len(rest.ok("GET", CRDS, labelSelector=f"e2e={group}")["items"]) == 10
    rest.ok("DELETE", CRDS, labelSelector=f"e2e={group}")
    rest.until(CRDS, lambda answer: not answer.body["items"], labelSelector=f"e2e={group}")
    rest.ok("GET", f"{CRDS}/others.{group}")


@upstream(
    "[sig-api-machinery] CustomResourceDefinition Watch [Privileged:ClusterAdmin] CustomResourceDefinition Watch watch on custom resource definition objects [Conformance]"
)
def test_custom_resources_are_watched(rest, crds, group):
    crds(definition(group, scope="Cluster"))
    foos = f"/apis/{group}/v1/foos"
    one = rest.events(foos, fieldSelector="metadata.name=name1", timeoutSeconds=20)
    two = rest.events(foos, fieldSelector="metadata.name=name2", timeoutSeconds=20)
    for name in ("name1", "name2"):
        rest.ok("POST", foos, custom(group, name, content={"key": "value"}))
        rest.merge(f"{foos}/{name}", {"num": 2})
        rest.ok("DELETE", f"{foos}/{name}")
    for events, name in ((one, "name1"), (two, "name2")):
        seen = [(kind, obj["metadata"]["name"]) for kind, obj in (next(events) for _ in range(3))]
        assert seen == [(kind, name) for kind in ("ADDED", "MODIFIED", "DELETED")]


@upstream(
    "[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] custom resource defaulting for requests and from storage works [Conformance]"
)
def test_defaults_apply_to_requests_and_to_what_is_stored(rest, crds, group):
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    crds(definition(group, schema=schema, scope="Cluster"))
    foos = f"/apis/{group}/v1/foos"
    rest.ok("POST", foos, custom(group, "one"))

    def set_default(field: str, value: object) -> None:
        path = f"/spec/versions/0/schema/openAPIV3Schema/properties/{field}/default"
        operation = {"op": "add", "path": path, "value": value} if value else {"op": "remove", "path": path}
        rest.ok("PATCH", f"{CRDS}/foos.{group}", [operation], media="application/json-patch+json")

    set_default("a", "A")
    rest.until(f"{foos}/one", lambda answer: answer.body.get("a") == "A")
    made = rest.ok("POST", foos, custom(group, "two"))
    assert made["a"] == "A"
    set_default("a", None)
    set_default("b", "B")
    rest.until(f"{foos}/two", lambda answer: answer.body.get("b") == "B")
    # What a write stored stays, what was only shown is gone with its default.
    assert rest.ok("GET", f"{foos}/two")["a"] == "A"
    assert "a" not in rest.ok("GET", f"{foos}/one")


@pytest.fixture
def strict(rest, namespace, group):
    def send(body: str, method: str = "POST", name: str = ""):
        path = f"/apis/{group}/v1/namespaces/{namespace}/foos"
        if method == "POST":
            return rest("POST", path, body, media="application/yaml", fieldValidation="Strict")
        return rest("PATCH", f"{path}/{name}", body, media="application/apply-patch+yaml", fieldManager="e2e",
                    fieldValidation="Strict", force="true")  # fmt: skip

    return send


def both(strict, body: str, name: str):
    return [strict(body), strict(body, "APPLY", name)]


@upstream(
    "[sig-api-machinery] FieldValidation should create/apply a CR with unknown fields for CRD with no validation schema [Conformance]"
)
def test_without_a_schema_every_field_is_known(crds, group, strict):
    crds(definition(group))
    body = json.dumps(custom(group, "a", spec={"unknown": {"deep": 1}}))
    assert [answer.code for answer in both(strict, body, "a")] == [201, 200]


SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
                "foo": {"type": "string"},
                "ports": {
                    "type": "array", "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
                    "items": {
                        "type": "object", "required": ["containerPort", "protocol"],
                        "properties": {
                            "containerPort": {"type": "integer", "format": "int32"},
                            "hostIP": {"type": "string"}, "protocol": {"type": "string"},
                        },
                    },
                },
                "template": {
                    "type": "object", "x-kubernetes-embedded-resource": True,
                    "properties": {"metadata": {"type": "object", "properties": {"name": {"type": "string"}}}},
                },
            },
        }
    },
}  # fmt: skip
VALID = {"spec": {"cronSpec": "* * * * */5", "ports": [{"containerPort": 80, "protocol": "TCP"}]}}


@upstream(
    "[sig-api-machinery] FieldValidation should create/apply a valid CR for CRD with validation schema [Conformance]"
)
def test_a_valid_object_is_taken(crds, group, strict):
    crds(definition(group, schema=SCHEMA))
    body = json.dumps(custom(group, "a", **VALID))
    assert [answer.code for answer in both(strict, body, "a")] == [201, 200]


@upstream(
    "[sig-api-machinery] FieldValidation should create/apply an invalid CR with extra properties for CRD with validation schema [Conformance]"
)
def test_unknown_fields_are_refused(crds, group, strict):
    crds(definition(group, schema=SCHEMA))
    extra = {"spec": {**VALID["spec"], "extraProperty": "arbitrary-value"}}
    for answer in both(strict, json.dumps(custom(group, "a", **extra)), "a"):
        assert answer.code in (400, 500)
    created = strict(json.dumps(custom(group, "a", **extra)))
    assert created.code == 400
    assert 'strict decoding error: unknown field "spec.extraProperty"' in created.body["message"]


@upstream(
    "[sig-api-machinery] FieldValidation should detect duplicates in a CR when preserving unknown fields [Conformance]"
)
def test_duplicates_are_refused(crds, group, strict):
    crds(definition(group))
    body = f"""
apiVersion: {group}/v1
kind: Foo
metadata:
  name: a
spec:
  unknown: uk1
  cronSpec: "* * * * */5"
  unknown: uk2
"""
    answer = strict(body)
    assert answer.code == 400
    assert 'key "unknown" already set in map' in answer.body["message"]
    twice = json.dumps(custom(group, "a", spec={"x": 1})).replace('"x": 1', '"x": 1, "x": 2')
    answer = strict(twice)
    assert (answer.code, answer.body["message"]) == (400, 'strict decoding error: duplicate field "spec.x"')


@upstream(
    "[sig-api-machinery] FieldValidation should detect unknown metadata fields in both the root and embedded object of a CR [Conformance]"
)
def test_unknown_metadata_is_refused_at_the_root_and_inside(crds, group, strict):
    crds(definition(group, schema=SCHEMA))
    embedded = {"apiVersion": "foo/v1", "kind": "Sub", "metadata": {"unknownSubMeta": "x", "name": "sub"}}
    body = custom(group, "a", spec={"template": embedded})
    body["metadata"]["unknownMeta"] = "y"
    answer = strict(json.dumps(body))
    assert answer.code == 400
    for field in ("metadata.unknownMeta", "spec.template.metadata.unknownSubMeta"):
        assert f'unknown field "{field}"' in answer.body["message"]
