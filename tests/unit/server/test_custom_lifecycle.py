"""From the names of a definition to its end: conflicts, deletion with finalizers, status, scale, generations."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.unit.server.test_custom_resources import CRDS, DEFINITION, MERGE, WIDGETS, define, widget
from tiphys.store import Unavailable


def named(plural: str, kind: str, **names: Any) -> dict[str, Any]:
    made = copy.deepcopy(DEFINITION)
    made["metadata"]["name"] = f"{plural}.example.com"
    made["spec"]["names"] = {"plural": plural, "kind": kind, **names}
    return made


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(5):
        while not await condition():
            await asyncio.sleep(0)


async def conditions(api: Any, plural: str) -> dict[str, tuple[str, str, str]]:
    found = await api.ok("GET", f"{CRDS}/{plural}.example.com")
    return {c["type"]: (c["status"], c["reason"], c["message"]) for c in found["status"]["conditions"]}


@pytest.mark.parametrize(
    ("other", "reason", "message"),
    [
        (named("gadgets", "Widget", singular="gadget", listKind="GadgetList"), "KindConflict", '"Widget"'),
        (named("gadgets", "Gadget", listKind="WidgetList"), "ListKindConflict", '"WidgetList"'),
        (named("gadgets", "Gadget", singular="widget"), "SingularConflict", '"widget"'),
        (named("gadgets", "Gadget", shortNames=["g", "wd"]), "ShortNamesConflict", '"wd"'),
    ],
)
async def test_names_that_are_taken_are_refused_until_they_come_free(api, other, reason, message):
    await define(api)
    await define(api, other)
    found = await conditions(api, "gadgets")
    assert found["NamesAccepted"] == ("False", reason, f"{message} is already in use")
    assert found["Established"] == ("False", "NotAccepted", "not all names are accepted")
    assert (await api("GET", "/apis/example.com/v1/namespaces/default/gadgets"))[0] == 404
    await api.ok("DELETE", f"{CRDS}/widgets.example.com")

    async def accepted() -> bool:
        return (await conditions(api, "gadgets")).get("Established", ("",))[0] == "True"

    await until(accepted)
    assert (await api.ok("GET", "/apis/example.com/v1/namespaces/default/gadgets"))["items"] == []


async def test_a_definition_waits_for_its_objects_finalizers(api):
    await define(api)
    made = widget(size=1)
    made["metadata"]["finalizers"] = ["example.com/hold"]
    await api.ok("POST", WIDGETS, made)
    assert "finalizers" not in (await api.ok("GET", f"{CRDS}/widgets.example.com"))["metadata"]
    marked = await api.ok("DELETE", f"{CRDS}/widgets.example.com")
    assert marked["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]

    async def in_progress() -> bool:
        return (await conditions(api, "widgets"))["Terminating"][1] == "InstanceDeletionInProgress"

    await until(in_progress)

    async def refused() -> bool:
        code, status = await api("POST", WIDGETS, widget("late", size=1))
        why = "create not allowed while custom resource definition is terminating"
        return code == 403 and status["message"] == f'widgets.example.com "late" is forbidden: {why}'

    await until(refused)
    listed = await api.ok("GET", "/apis/example.com/v1")
    assert listed["resources"][0]["verbs"] == ["delete", "deletecollection", "get", "list", "watch"]
    await api.ok("PATCH", f"{WIDGETS}/w", {"metadata": {"finalizers": None}}, content_type=MERGE)

    async def gone() -> bool:
        return (await api("GET", f"{CRDS}/widgets.example.com"))[0] == 404 and (await api("GET", WIDGETS))[0] == 404

    await until(gone)
    await define(api)
    await api.ok("POST", WIDGETS, widget(size=1))


async def test_status_and_the_rest_are_written_apart(api):
    await define(api)
    made = await api.ok("POST", WIDGETS, {**widget(size=1), "status": {"size": 7}})
    assert "status" not in made
    told = {**made, "spec": {"size": 9}, "status": {"size": 3}}
    told["metadata"] = {**made["metadata"], "labels": {"a": "b"}}
    new = await api.ok("PUT", f"{WIDGETS}/w/status", told)
    assert (new["spec"]["size"], new["status"], new["metadata"]["generation"]) == (1, {"size": 3}, 1)
    assert "labels" not in new["metadata"]
    new = await api.ok("PATCH", f"{WIDGETS}/w", {"spec": {"size": 2}, "status": {"size": 8}}, content_type=MERGE)
    assert (new["spec"]["size"], new["status"], new["metadata"]["generation"]) == (2, {"size": 3}, 2)


async def test_without_a_status_subresource_the_status_counts_as_the_rest(api):
    made = copy.deepcopy(DEFINITION)
    del made["spec"]["versions"][0]["subresources"]
    await define(api, made)
    new = await api.ok("POST", WIDGETS, {**widget(size=1), "status": {"size": 7}})
    assert new["status"] == {"size": 7}
    new = await api.ok("PATCH", f"{WIDGETS}/w", {"status": {"size": 8}}, content_type=MERGE)
    assert (new["status"], new["metadata"]["generation"]) == ({"size": 8}, 2)
    new = await api.ok("PATCH", f"{WIDGETS}/w", {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)
    assert new["metadata"]["generation"] == 2
    assert (await api("GET", f"{WIDGETS}/w/status"))[0] == 404


async def test_a_status_is_not_refused_for_what_became_wrong_with_the_rest(api):
    await define(api)
    await api.ok("POST", WIDGETS, widget(size=1))
    stricter = copy.deepcopy(DEFINITION["spec"])
    schema = stricter["versions"][0]["schema"]["openAPIV3Schema"]
    schema["required"] = ["other"]
    schema["properties"]["other"] = {"type": "string"}
    await api.ok("PATCH", f"{CRDS}/widgets.example.com", {"spec": stricter}, content_type=MERGE)

    async def stricter_is_served() -> bool:
        return (await api("POST", WIDGETS, widget("x", size=1), dryRun="All"))[0] == 422

    await until(stricter_is_served)
    new = await api.ok("PATCH", f"{WIDGETS}/w/status", {"status": {"size": 3}}, content_type=MERGE)
    assert new["status"] == {"size": 3}
    assert (await api("PATCH", f"{WIDGETS}/w", {"spec": {"size": 3}}, content_type=MERGE))[0] == 422


async def test_scale_paths_are_checked(api):
    loose = copy.deepcopy(DEFINITION)
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    loose["spec"]["versions"][0] |= {"schema": {"openAPIV3Schema": schema}}
    del loose["spec"]["versions"][0]["selectableFields"]
    await define(api, loose)
    code, status = await api("POST", WIDGETS, widget(size=-1))
    assert code == 422
    assert ".spec.size: Invalid value: -1: should be a non-negative integer" in status["message"]
    code, status = await api("POST", WIDGETS, widget(size="3"))
    assert ".spec.size accessor error: 3 is of the type string, expected int64" in status["message"]
    await api.ok("POST", WIDGETS, widget(size=2))
    scale = await api.ok("PATCH", f"{WIDGETS}/w/scale", {"spec": {"replicas": 5}}, content_type=MERGE)
    assert (scale["spec"], scale["status"]["replicas"]) == ({"replicas": 5}, 0)
    assert (await api.ok("GET", f"{WIDGETS}/w"))["metadata"]["generation"] == 2


async def test_invalid_values_that_an_update_leaves_alone_are_forgiven(api):
    item = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "n": {"type": "integer"}},
    }
    parts = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": item}
    made = copy.deepcopy(DEFINITION)
    fields = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    fields["parts"] = parts
    await define(api, made)
    await api.ok("POST", WIDGETS, widget(size=1, parts=[{"name": "a", "n": 50}, {"name": "b", "n": 1}]))
    item["properties"]["n"]["maximum"] = 10
    await api.ok("PATCH", f"{CRDS}/widgets.example.com", {"spec": made["spec"]}, content_type=MERGE)

    async def stricter_is_served() -> bool:
        bad = widget("x", size=1, parts=[{"name": "a", "n": 50}])
        return (await api("POST", WIDGETS, bad, dryRun="All"))[0] == 422

    await until(stricter_is_served)
    moved = [{"name": "b", "n": 2}, {"name": "a", "n": 50}]
    await api.ok("PATCH", f"{WIDGETS}/w", {"spec": {"parts": moved}}, content_type=MERGE)
    worse = [{"name": "b", "n": 2}, {"name": "a", "n": 51}]
    code, status = await api("PATCH", f"{WIDGETS}/w", {"spec": {"parts": worse}}, content_type=MERGE)
    assert code == 422
    assert (
        "spec.parts[1].n: Invalid value: 51: spec.parts[1].n in body should be less than or equal to 10"
        in (status["message"])
    )


async def test_embedded_resources_are_resources(api):
    made = copy.deepcopy(DEFINITION)
    spec = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["inner"] = {
        "type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True,
    }  # fmt: skip
    await define(api, made)
    code, status = await api("POST", WIDGETS, widget(size=1, inner={"kind": "no_kind", "metadata": {"name": "a/b"}}))
    assert code == 422
    assert [cause["field"] for cause in status["details"]["causes"]] == [
        "spec.inner.apiVersion", "spec.inner.kind", "spec.inner.metadata.name"
    ]  # fmt: skip
    inner = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "odd": 1}, "spec": {"x": 1}}
    new = await api.ok("POST", WIDGETS, widget(size=1, inner=inner))
    assert new["spec"]["inner"] == {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"x": 1}}


async def test_nulls_are_no_values_unless_they_may_be(api):
    made = copy.deepcopy(DEFINITION)
    spec = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"] |= {"maybe": {"type": "string", "nullable": True}, "note": {"type": "string"}}
    await define(api, made)
    new = await api.ok("POST", WIDGETS, widget(size=1, maybe=None, note=None, colour=None))
    assert new["spec"] == {"size": 1, "maybe": None, "colour": "red"}


async def test_columns_show_what_they_can(api):
    made = copy.deepcopy(DEFINITION)
    made["spec"]["versions"][0]["additionalPrinterColumns"] = [
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size", "priority": 1},
        {"name": "Wrong", "type": "boolean", "jsonPath": ".spec.size"},
        {"name": "Missing", "type": "string", "jsonPath": ".spec.nothing"},
        {"name": "Map", "type": "string", "jsonPath": ".spec"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "How old."},
        {"name": "Bad", "type": "date", "jsonPath": ".spec.colour"},
    ]
    await define(api, made)
    await api.ok("POST", WIDGETS, widget(size=3))
    table = await api.ok("GET", WIDGETS, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert table["rows"][0]["cells"] == ["w", 3, None, None, '{"size":3,"colour":"red"}', "0s", "<invalid>"]
    shown = [(c["name"], c["priority"], c["description"]) for c in table["columnDefinitions"][1:]]
    assert shown[0] == ("Size", 1, "Custom resource definition column (in JSONPath format): .spec.size")
    assert shown[4] == ("Age", 0, "How old.")


async def test_finalizers_should_be_of_a_domain(api):
    await define(api)
    made = widget(size=1)
    made["metadata"]["finalizers"] = ["hold", "hold.example.com", "example.com/hold"]
    answer = await api.respond("POST", WIDGETS, made)
    assert answer.headers["Warning"].count("prefer a domain-qualified finalizer name") == 2


async def test_a_status_that_could_not_be_written_is_written_later(api, monkeypatch):
    store = api.assembled.cache.store
    put, refused = store.put, []

    async def full(key: str, value: bytes, expect: Any = None) -> Any:
        if key.endswith("/widgets.example.com") and b'"NamesAccepted"' in value and not refused:
            refused.append(key)
            raise Unavailable("disk full")
        return await put(key, value, expect)

    monkeypatch.setattr(store, "put", full)
    await api.ok("POST", CRDS, DEFINITION)

    async def accepted() -> bool:
        await api.clock.advance(1)
        return "conditions" in (await api.ok("GET", f"{CRDS}/widgets.example.com"))["status"]

    await until(accepted)
    assert refused
    await api.ok("POST", WIDGETS, widget(size=1))
