"""CustomResourceDefinitions: served like a built-in kind a moment after they are made."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
MERGE = "application/merge-patch+json"

DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
        "versions": [
            {
                "name": "v1", "served": True, "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "required": ["size"], "properties": {
                        "size": {"type": "integer", "minimum": 1},
                        "colour": {"type": "string", "default": "red"},
                    }},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                }}},
                "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size",
                }},
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                "selectableFields": [{"jsonPath": ".spec.colour"}],
            }
        ],
    },
}  # fmt: skip


async def define(api: Any, definition: dict[str, Any] = DEFINITION) -> None:
    await api.ok("POST", CRDS, definition)
    async with asyncio.timeout(5):
        while True:
            found = await api.ok("GET", f"{CRDS}/{definition['metadata']['name']}")
            conditions = {c["type"]: c["status"] for c in (found.get("status") or {}).get("conditions") or ()}
            if "NamesAccepted" in conditions:
                return
            await asyncio.sleep(0)


def widget(name: str = "w", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}


async def test_a_defined_kind_is_served_and_discovered(api):
    await define(api)
    made = await api.ok("POST", WIDGETS, widget(size=3))
    assert made["spec"] == {"size": 3, "colour": "red"}
    assert made["metadata"]["generation"] == 1
    listed = await api.ok("GET", "/apis/example.com/v1")
    assert {r["name"] for r in listed["resources"]} == {"widgets", "widgets/status", "widgets/scale"}
    assert (await api.ok("GET", WIDGETS))["kind"] == "WidgetList"
    assert (await api.ok("GET", f"{WIDGETS}/w/scale"))["spec"] == {"replicas": 3}
    definition = await api.ok("GET", f"{CRDS}/widgets.example.com")
    assert definition["status"]["acceptedNames"]["listKind"] == "WidgetList"
    assert definition["status"]["storedVersions"] == ["v1"]


async def test_custom_objects_are_checked_pruned_and_merged(api):
    await define(api)
    code, status = await api("POST", WIDGETS, widget(size=0))
    assert code == 422
    assert "spec.size" in status["message"]
    assert (await api("POST", WIDGETS, widget(colour="blue")))[0] == 422
    made = await api.ok("POST", WIDGETS, widget(size=1, weight=5))
    assert "weight" not in made["spec"]
    new = await api.ok("PATCH", f"{WIDGETS}/w", {"spec": {"size": 9}}, content_type=MERGE)
    assert (new["spec"]["size"], new["metadata"]["generation"]) == (9, 2)
    media = "application/strategic-merge-patch+json"
    assert (await api("PATCH", f"{WIDGETS}/w", {"spec": {"size": 9}}, content_type=media))[0] == 415


async def test_columns_and_selectable_fields(api):
    await define(api)
    await api.ok("POST", WIDGETS, widget("a", size=1, colour="blue"))
    await api.ok("POST", WIDGETS, widget("b", size=2))
    table = await api.ok("GET", WIDGETS, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert [row["cells"] for row in table["rows"]] == [["a", 1], ["b", 2]]
    chosen = await api.ok("GET", WIDGETS, fieldSelector="spec.colour=blue")
    assert [item["metadata"]["name"] for item in chosen["items"]] == ["a"]


async def test_server_side_apply_of_a_custom_object(api):
    await define(api)
    made = await api.ok(
        "PATCH", f"{WIDGETS}/w", widget(size=2), content_type="application/apply-patch+yaml", fieldManager="me"
    )
    assert made["metadata"]["managedFields"][0]["fieldsV1"] == {"f:spec": {"f:size": {}}}


async def test_a_second_definition_of_a_taken_kind_is_not_accepted(api):
    await define(api)
    other = copy.deepcopy(DEFINITION)
    other["metadata"]["name"] = "gadgets.example.com"
    other["spec"]["names"] = {"plural": "gadgets", "singular": "gadget", "kind": "Widget", "listKind": "GadgetList"}
    await define(api, other)
    found = await api.ok("GET", f"{CRDS}/gadgets.example.com")
    conditions = {c["type"]: (c["status"], c["reason"]) for c in found["status"]["conditions"]}
    assert conditions["NamesAccepted"] == ("False", "KindConflict")
    assert (await api("GET", "/apis/example.com/v1/namespaces/default/gadgets"))[0] == 404


async def test_a_deleted_definition_takes_its_objects_along(api):
    await define(api)
    await api.ok("POST", WIDGETS, widget(size=1))
    await api.ok("DELETE", f"{CRDS}/widgets.example.com")
    async with asyncio.timeout(5):
        while (await api("GET", f"{CRDS}/widgets.example.com"))[0] != 404:
            await asyncio.sleep(0)
        while (await api("GET", WIDGETS))[0] != 404:
            await asyncio.sleep(0)
    await define(api)
    assert (await api.ok("GET", WIDGETS))["items"] == []
