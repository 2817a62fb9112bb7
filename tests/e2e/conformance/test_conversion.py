"""Custom resources in two versions, converted by a webhook: written and read in both, listed, selected, watched."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from conformance.conftest import CRDS
from conformance.hooks import serving
from conformance.marks import upstream

pytestmark = pytest.mark.root

TEXT = {"type": "string"}


def converted(obj: dict[str, Any], version: str) -> dict[str, Any]:
    """v1 has hostPort, v2 has host and port."""
    obj = copy.deepcopy(obj) | {"apiVersion": version}
    if version.endswith("/v2") and "hostPort" in obj:
        obj["host"], _, obj["port"] = obj.pop("hostPort").partition(":")
    elif version.endswith("/v1") and "host" in obj:
        obj["hostPort"] = f"{obj.pop('host')}:{obj.pop('port')}"
    return obj


def version(name: str, stored: str, fields: list[str], *, selectable: bool) -> dict[str, Any]:
    schema = {"type": "object", "properties": dict.fromkeys(fields, TEXT)}
    made = {"name": name, "served": True, "storage": name == stored, "schema": {"openAPIV3Schema": schema}}
    return made | ({"selectableFields": [{"jsonPath": f".{field}"} for field in fields]} if selectable else {})


@pytest.fixture
def converting(crds, group, tmp_path):
    """`converting(stored, selectable=...)` defines the resource, whose versions this process converts.

    Gives the numbers of objects of the questions asked.
    """
    asked: list[int] = []

    def convert(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(len(request["objects"]))
        made = [converted(obj, request["desiredAPIVersion"]) for obj in request["objects"]]
        return {"result": {"status": "Success"}, "convertedObjects": made}

    with serving(tmp_path) as hooks:
        hooks.decisions["/crdconvert"] = convert

        def define(stored: str = "v1", *, selectable: bool = False) -> list[int]:
            client = hooks.client("/crdconvert")
            crds({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": f"crs.{group}"},
                "spec": {
                    "group": group, "scope": "Namespaced", "preserveUnknownFields": False,
                    "names": {"plural": "crs", "singular": "cr", "kind": "Cr", "listKind": "CrList"},
                    "versions": [version("v1", stored, ["hostPort"], selectable=selectable),
                                 version("v2", stored, ["host", "port"], selectable=selectable)],
                    "conversion": {"strategy": "Webhook",
                                   "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1", "v1beta1"]}},
                },
            })  # fmt: skip
            return asked

        yield define


@pytest.fixture
def path(group, namespace):
    return lambda version, name="": f"/apis/{group}/{version}/namespaces/{namespace}/crs" + (f"/{name}" if name else "")


@pytest.fixture
def make(rest, group, path):
    def create(version: str, name: str, **fields: str) -> Any:
        obj = {"apiVersion": f"{group}/{version}", "kind": "Cr", "metadata": {"name": name}, **fields}
        return rest.ok("POST", path(version), obj)

    return create


@upstream("[sig-api-machinery] CustomResourceConversionWebhook [Privileged:ClusterAdmin] should be able to convert from CR v1 to CR v2 [Conformance]")
def test_an_object_is_converted(rest, converting, path, make, group):
    converting()
    made = make("v1", "cr-1", hostPort="localhost:8080")
    found = rest.ok("GET", path("v2", "cr-1"))
    assert (found["apiVersion"], found["host"], found["port"]) == (f"{group}/v2", "localhost", "8080")
    assert "hostPort" not in found
    assert found["metadata"]["uid"] == made["metadata"]["uid"]


@upstream("[sig-api-machinery] CustomResourceConversionWebhook [Privileged:ClusterAdmin] should be able to convert a non homogeneous list of CRs [Conformance]")
def test_a_mixed_list_is_converted(rest, converting, path, make, group):
    converting()
    make("v1", "cr-1", hostPort="localhost:8080")
    rest.ok("PATCH", f"{CRDS}/crs.{group}", [
        {"op": "replace", "path": "/spec/versions/0/storage", "value": False},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": True},
    ], media="application/json-patch+json")  # fmt: skip
    rest.until(f"{CRDS}/crs.{group}", lambda answer: answer.body["status"]["storedVersions"] == ["v1", "v2"])
    make("v2", "cr-2", host="localhost", port="8081")
    for name, fields in (("v1", {"hostPort"}), ("v2", {"host", "port"})):
        items = rest.ok("GET", path(name))["items"]
        assert [item["metadata"]["name"] for item in items] == ["cr-1", "cr-2"]
        for item in items:
            assert set(item) - {"apiVersion", "kind", "metadata"} == fields
            assert item["apiVersion"] == f"{group}/{name}"


@upstream("[sig-api-machinery] CustomResourceFieldSelectors [Privileged:ClusterAdmin] CustomResourceFieldSelectors MUST list and watch custom resources matching the field selector [Conformance]")
def test_objects_are_selected_by_the_fields_of_their_version(rest, converting, path, make):
    converting("v1", selectable=True)
    by_port = rest.events(path("v2"), fieldSelector="host=host1,port=80", timeoutSeconds=30)
    by_both = rest.events(path("v1"), fieldSelector="hostPort=host1:80", timeoutSeconds=30)
    make("v1", "one", hostPort="host1:80")
    make("v1", "two", hostPort="host1:8080")
    make("v2", "three", host="host2", port="80")

    def names(version: str, selector: str) -> list[str]:
        return [item["metadata"]["name"] for item in rest.ok("GET", path(version), fieldSelector=selector)["items"]]

    assert names("v1", "hostPort=host1:80") == ["one"]
    assert names("v1", "hostPort!=host1:80") == ["three", "two"]
    assert names("v2", "host=host1") == ["one", "two"]
    assert names("v2", "host=host1,port=80") == ["one"]
    assert rest("GET", path("v1"), fieldSelector="host=host1").code == 400
    rest.ok("DELETE", path("v2"), fieldSelector="host=host2")
    assert names("v2", "host!=host1") == []
    rest.merge(path("v1", "one"), {"hostPort": "host1:81"})
    for events, field in ((by_port, "port"), (by_both, "hostPort")):
        seen = [(kind, obj["metadata"]["name"]) for kind, obj in (next(events) for _ in range(2))]
        assert seen == [("ADDED", "one"), ("DELETED", "one")], field


def test_what_was_converted_is_not_converted_again(rest, converting, path, make):
    asked = converting()
    for number in range(20):
        make("v1", f"cr-{number}", hostPort=f"localhost:{number}")
    rest.ok("GET", path("v2"))
    before = sum(asked)
    assert before >= 20
    for _ in range(3):
        assert len(rest.ok("GET", path("v2"))["items"]) == 20
    # Others, such as the garbage collector, may look at single objects meanwhile.
    assert sum(asked) - before < 20
