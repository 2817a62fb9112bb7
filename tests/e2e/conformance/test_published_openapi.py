from __future__ import annotations

import json

import pytest

from conformance.conftest import CRDS
from conformance.marks import upstream
from conformance.test_custom_resources import definition

pytestmark = pytest.mark.root

VALIDATING = {
    "description": "Foo CRD for Testing",
    "type": "object",
    "properties": {
        "spec": {
            "type": "object", "description": "Specification of Foo",
            "properties": {
                "bars": {
                    "description": "List of Bars and their specs.", "type": "array",
                    "items": {
                        "type": "object", "required": ["name"],
                        "properties": {
                            "name": {"description": "Name of Bar.", "type": "string"},
                            "age": {"description": "Age of Bar.", "type": "string"},
                            "feeling": {"type": "string", "enum": ["Great", "Down"]},
                            "bazs": {"description": "List of Bazs.", "type": "array", "items": {"type": "string"}},
                        },
                    },
                }
            },
        },
        "status": {"description": "Status of Foo", "type": "object", "properties": {"ok": {"type": "boolean"}}},
    },
}  # fmt: skip


def name_of(group: str, version: str, kind: str) -> str:
    return ".".join([*reversed(group.split(".")), version, kind])


def published(rest, name: str, *, there: bool = True) -> dict:
    answer = rest.until("/openapi/v2", lambda a: (name in a.body["definitions"]) == there)
    return answer.body["definitions"].get(name, {})


def versions(*names: str) -> list[dict]:
    schema = {"openAPIV3Schema": VALIDATING}
    return [{"name": name, "served": True, "storage": name == names[0], "schema": schema} for name in names]


@upstream(
    "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD with validation schema [Conformance]"
)
def test_kubectl_validates_and_explains_by_the_schema(rest, crds, group, cluster, namespace):
    crds(definition(group, schema=VALIDATING))
    published(rest, name_of(group, "v1", "Foo"))
    head = {"apiVersion": f"{group}/v1", "kind": "Foo", "metadata": {"name": "test-foo"}}

    def kubectl(verb: str, **spec) -> str:
        return cluster.kubectl("-n", namespace, verb, "-f", "-", stdin=json.dumps(head | spec), check=False)

    valid = {"spec": {"bars": [{"name": "test-bar", "age": "10"}]}}
    assert "created" in kubectl("create", **valid)
    cluster.kubectl("-n", namespace, "delete", "foos", "test-foo")
    assert "created" in kubectl("apply", **valid)
    cluster.kubectl("-n", namespace, "delete", "foos", "test-foo")
    for verb in ("create", "apply"):
        assert 'Unsupported value: "NonExistentValue"' in kubectl(
            verb, spec={"bars": [{"name": "test-bar", "feeling": "NonExistentValue"}]}
        )
        assert 'unknown field "spec.foo"' in kubectl(verb, spec={"foo": True})
        assert "Required value" in kubectl(verb, spec={"bars": [{"age": "10"}]})
    told = cluster.kubectl("explain", f"foos.{group}")
    assert all(part in told for part in ("KIND:", "Foo", "DESCRIPTION:", "Foo CRD for Testing", "FIELDS:", "status"))
    told = cluster.kubectl("explain", f"foos.{group}.spec")
    assert all(part in told for part in ("Specification of Foo", "bars", "List of Bars and their specs"))
    told = cluster.kubectl("explain", f"foos.{group}.spec.bars")
    assert all(part in told for part in ("name", "-required-", "Name of Bar", "bazs", "List of Bazs"))
    assert 'field "bars2" does not exist' in cluster.kubectl("explain", f"foos.{group}.spec.bars2", check=False)


@upstream(
    "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD without validation schema [Conformance]"
)
def test_without_a_schema_kubectl_takes_everything(rest, crds, group, cluster, namespace):
    crds(definition(group))
    published(rest, name_of(group, "v1", "Foo"))
    body = {"apiVersion": f"{group}/v1", "kind": "Foo", "metadata": {"name": "f"}, "a": {"b": [{"c": "d"}]}}
    for verb in ("create", "apply"):
        cluster.kubectl("-n", namespace, verb, "-f", "-", stdin=json.dumps(body))
        cluster.kubectl("-n", namespace, "delete", "foos", "f")
    told = cluster.kubectl("explain", f"foos.{group}")
    assert "DESCRIPTION:\n    <empty>" in told


@upstream(
    "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD preserving unknown fields at the schema root [Conformance]"
)
def test_unknown_fields_at_the_root_are_taken(rest, crds, group, cluster, namespace):
    crds(definition(group, schema={**VALIDATING, "x-kubernetes-preserve-unknown-fields": True}))
    published(rest, name_of(group, "v1", "Foo"))
    body = {"apiVersion": f"{group}/v1", "kind": "Foo", "metadata": {"name": "f"}, "a": {"b": [{"c": "d"}]}}
    for verb in ("create", "apply"):
        cluster.kubectl("-n", namespace, verb, "-f", "-", stdin=json.dumps(body))
        cluster.kubectl("-n", namespace, "delete", "foos", "f")
    assert "KIND:       Foo" in cluster.kubectl("explain", f"foos.{group}")


@upstream(
    "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD preserving unknown fields in an embedded object [Conformance]"
)
def test_unknown_fields_inside_are_taken(rest, crds, group, cluster, namespace):
    inside = {"description": "preserve-unknown-properties in nested field for Testing", "type": "object",
              "properties": {"spec": {"description": "Specification of Waldo", "type": "object",
                                      "x-kubernetes-preserve-unknown-fields": True}}}  # fmt: skip
    crds(definition(group, schema=inside))
    published(rest, name_of(group, "v1", "Foo"))
    body = {"apiVersion": f"{group}/v1", "kind": "Foo", "metadata": {"name": "f"}, "spec": {"b": [{"c": "d"}]}}
    for verb in ("create", "apply"):
        cluster.kubectl("-n", namespace, verb, "-f", "-", stdin=json.dumps(body))
        cluster.kubectl("-n", namespace, "delete", "foos", "f")
    told = cluster.kubectl("explain", f"foos.{group}")
    assert "preserve-unknown-properties in nested field" in told


@upstream(
    "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for multiple CRDs of different groups [Conformance]"
)
def test_two_groups_are_published(rest, crds, group):
    crds(definition(group, schema=VALIDATING))
    crds(definition(f"other.{group}", schema=VALIDATING))
    for name in (group, f"other.{group}"):
        found = published(rest, name_of(name, "v1", "Foo"))
        assert found["properties"]["spec"]["properties"]["bars"]["items"]["required"] == ["name"]
        assert found["x-kubernetes-group-version-kind"] == [{"group": name, "kind": "Foo", "version": "v1"}]


@upstream(
    "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for multiple CRDs of same group but different versions [Conformance]"
)
def test_two_versions_are_published(rest, crds, group):
    crds(definition(group, versions=versions("v2", "v3")))
    published(rest, name_of(group, "v2", "Foo"))
    published(rest, name_of(group, "v3", "Foo"))
    crds(definition(group, "bars", "Bar", versions=versions("v4")))
    published(rest, name_of(group, "v4", "Bar"))


@upstream(
    "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for multiple CRDs of same group and version but different kinds [Conformance]"
)
def test_two_kinds_are_published(rest, crds, group):
    crds(definition(group, schema=VALIDATING))
    crds(definition(group, "bars", "Bar", schema=VALIDATING))
    published(rest, name_of(group, "v1", "Foo"))
    published(rest, name_of(group, "v1", "Bar"))


@upstream(
    "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] updates the published spec when one version gets renamed [Conformance]"
)
def test_a_renamed_version_is_published_anew(rest, crds, group):
    crds(definition(group, versions=versions("v2", "v3")))
    published(rest, name_of(group, "v3", "Foo"))
    kept = published(rest, name_of(group, "v2", "Foo"))
    rename = {"op": "replace", "path": "/spec/versions/1/name", "value": "v4"}
    rest.ok("PATCH", f"{CRDS}/foos.{group}", [rename], media="application/json-patch+json")
    published(rest, name_of(group, "v4", "Foo"))
    published(rest, name_of(group, "v3", "Foo"), there=False)
    assert published(rest, name_of(group, "v2", "Foo")) == kept


@upstream(
    "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] removes definition from spec when one version gets changed to not be served [Conformance]"
)
def test_a_version_that_is_not_served_is_not_published(rest, crds, group):
    crds(definition(group, versions=versions("v5", "v6")))
    published(rest, name_of(group, "v6", "Foo"))
    served = {"op": "replace", "path": "/spec/versions/1/served", "value": False}
    rest.ok("PATCH", f"{CRDS}/foos.{group}", [served], media="application/json-patch+json")
    published(rest, name_of(group, "v6", "Foo"), there=False)
    published(rest, name_of(group, "v5", "Foo"))
