"""Several versions of a custom resource: conversion by renaming and by webhook, storage versions, what is read back."""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from tests.unit.server.conftest import serving
from tests.unit.server.test_custom_resources import CRDS, MERGE, define
from tiphys.server.webhook_client import Destination, WebhookError

GROUP = "stable.example.com"
JSON_PATCH = "application/json-patch+json"


def schema(**properties: Any) -> dict[str, Any]:
    spec = {"type": "object", "properties": properties}
    return {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}


TEXT = {"type": "string"}


def definition(conversion: dict[str, Any] | None = None, **v1: Any) -> dict[str, Any]:
    versions = [
        {"name": "v1", "served": True, "storage": True, "schema": schema(hostPort=TEXT),
         "selectableFields": [{"jsonPath": ".spec.hostPort"}], **v1},
        {"name": "v2", "served": True, "storage": False, "schema": schema(host=TEXT, port=TEXT),
         "selectableFields": [{"jsonPath": ".spec.host"}, {"jsonPath": ".spec.port"}]},
    ]  # fmt: skip
    spec = {"group": GROUP, "scope": "Namespaced", "names": {"plural": "crons", "kind": "Cron"}, "versions": versions}
    if conversion is not None:
        webhook = {"clientConfig": {"url": "https://converter.test/"}, "conversionReviewVersions": ["v1"], **conversion}
        spec["conversion"] = {"strategy": "Webhook", "webhook": webhook}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"crons.{GROUP}"}, "spec": spec,
    }  # fmt: skip


def path(version: str, name: str = "") -> str:
    return f"/apis/{GROUP}/{version}/namespaces/default/crons" + (f"/{name}" if name else "")


def cron(version: str, name: str, **spec: str) -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/{version}", "kind": "Cron", "metadata": {"name": name}, "spec": spec}


class Converter:
    """A conversion webhook: `asked` are the numbers of objects of its questions; `spoil` changes its answer."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.spoil: Any = lambda response: None
        self.down = False

    async def __call__(self, destination: Destination, body: bytes) -> tuple[int, bytes]:
        if self.down:
            raise WebhookError(f'Post "{destination.url}": connection refused')
        review = orjson.loads(body)
        request = review.pop("request")
        self.asked.append(len(request["objects"]))
        made = [self.convert(obj, request["desiredAPIVersion"]) for obj in request["objects"]]
        review["response"] = {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": made}
        self.spoil(review["response"])
        return 200, orjson.dumps(review)

    def convert(self, obj: dict[str, Any], version: str) -> dict[str, Any]:
        made = copy.deepcopy(obj)
        made["apiVersion"], spec = version, made.setdefault("spec", {})
        if version.endswith("/v2") and "hostPort" in spec:
            spec["host"], _, spec["port"] = spec.pop("hostPort").partition(":")
        elif version.endswith("/v1") and "host" in spec:
            spec["hostPort"] = f"{spec.pop('host')}:{spec.pop('port')}"
        return made

    async def close(self) -> None: ...


@pytest.fixture
def converter() -> Converter:
    return Converter()


@pytest.fixture
async def api(converter: Converter) -> AsyncIterator[Any]:
    async with serving(post=converter) as api:
        yield api


async def change(api: Any, *operations: dict[str, Any]) -> None:
    """Patch the definition and wait until what is served is of it."""
    done = await api.ok("PATCH", f"{CRDS}/crons.{GROUP}", list(operations), content_type=JSON_PATCH)
    served = api.assembled.custom._served
    async with asyncio.timeout(5):
        while served[f"crons.{GROUP}"].generation != done["metadata"]["generation"]:
            await asyncio.sleep(0)


def store(version: str) -> list[dict[str, Any]]:
    return [
        {"op": "replace", "path": f"/spec/versions/{index}/storage", "value": name == version}
        for index, name in enumerate(("v1", "v2"))
    ]


async def test_the_webhook_converts_what_is_written_and_read(api, converter):
    await define(api, definition({}))
    await api.ok("POST", path("v1"), cron("v1", "a", hostPort="h:1"))
    assert (await api.ok("GET", path("v2", "a")))["spec"] == {"host": "h", "port": "1"}
    made = await api.ok("POST", path("v2"), cron("v2", "b", host="i", port="2"))
    assert (made["apiVersion"], made["spec"]) == (f"{GROUP}/v2", {"host": "i", "port": "2"})
    assert (await api.ok("GET", path("v1", "b")))["spec"] == {"hostPort": "i:2"}


async def test_a_list_is_one_question_and_remembered(api, converter):
    await define(api, definition({}))
    for index in range(5):
        await api.ok("POST", path("v1"), cron("v1", f"c{index}", hostPort=f"h:{index}"))
    converter.asked.clear()
    for _ in range(2):
        listed = await api.ok("GET", path("v2"))
        assert [item["spec"]["port"] for item in listed["items"]] == ["0", "1", "2", "3", "4"]
    assert converter.asked == [5]


async def test_a_list_of_objects_stored_in_two_versions(api, converter):
    await define(api, definition({}))
    await api.ok("POST", path("v1"), cron("v1", "a", hostPort="h:1"))
    await change(api, *store("v2"))
    await api.ok("POST", path("v1"), cron("v1", "b", hostPort="h:2"))
    for version in ("v1", "v2"):
        listed = await api.ok("GET", path(version))
        assert {item["apiVersion"] for item in listed["items"]} == {f"{GROUP}/{version}"}
        fields = {"v1": {"hostPort"}, "v2": {"host", "port"}}[version]
        assert all(set(item["spec"]) == fields for item in listed["items"])
    found = await api.ok("GET", f"{CRDS}/crons.{GROUP}")
    assert found["status"]["storedVersions"] == ["v1", "v2"]
    stored = [orjson.loads(r.value) for r in (await api.assembled.cache.store.list(f"/registry/{GROUP}/")).records]
    assert [obj["apiVersion"] for obj in stored] == [f"{GROUP}/v1", f"{GROUP}/v2"]


async def test_each_version_selects_by_its_own_fields_in_lists_and_watches(api):
    await define(api, definition({}))
    watch = await api.respond("GET", path("v2"), watch="true", fieldSelector="spec.host=h", timeoutSeconds="5")
    await api.ok("POST", path("v1"), cron("v1", "a", hostPort="h:1"))
    await api.ok("POST", path("v1"), cron("v1", "b", hostPort="i:1"))
    await api.ok("PATCH", path("v1", "a"), {"spec": {"hostPort": "j:1"}}, content_type=MERGE)
    chosen = await api.ok("GET", path("v2"), fieldSelector="spec.host=j")
    assert [item["metadata"]["name"] for item in chosen["items"]] == ["a"]
    assert (await api("GET", path("v1"), fieldSelector="spec.host=j"))[0] == 400
    seen: list[tuple[str, Any]] = []
    async with asyncio.timeout(5):
        async for lines in watch.stream:
            seen += [(e["type"], e["object"]["spec"]) for e in map(orjson.loads, lines.splitlines())]
            if len(seen) == 2:
                break
    assert seen == [("ADDED", {"host": "h", "port": "1"}), ("DELETED", {"host": "h", "port": "1"})]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: r["convertedObjects"].clear(), "returned 0 objects, expected 1"),
        (lambda r: r.update(uid="x"), 'failed: expected response.uid='),
        (lambda r: r.update(result={"status": "Failed", "message": "no way"}), "failed: no way"),
        (lambda r: r.update(result={}), "failed: response.result.status was '', not 'Success'"),
        (lambda r: r["convertedObjects"][0].update(apiVersion=f"{GROUP}/v9"),
         f"invalid groupVersion (expected {GROUP}/v2, received {GROUP}/v9)"),
        (lambda r: r["convertedObjects"][0].update(kind="Other"), "invalid kind (expected Cron, received Other)"),
        (lambda r: r["convertedObjects"][0]["metadata"].update(name="b"), "must have the same name: a != b"),
        (lambda r: r["convertedObjects"][0]["metadata"].update(uid="b"), "must have the same UID"),
        (lambda r: r["convertedObjects"][0]["metadata"].update(labels={"a": 1}),
         "metadata.labels[a] must be a string, but is int in converted object"),
        (lambda r: r["convertedObjects"][0].pop("metadata"), "must have the same name: a != "),
    ],
)  # fmt: skip
async def test_what_a_webhook_may_not_answer(api, converter, spoil, message):
    await define(api, definition({}))
    await api.ok("POST", path("v1"), cron("v1", "a", hostPort="h:1"))
    converter.spoil = spoil
    for where in (path("v2", "a"), path("v2")):
        code, status = await api("GET", where)
        assert (code, status.get("reason")) == (500, None)
        assert status["message"].startswith(f"conversion webhook for {GROUP}/v1, Kind=Cron ")
        assert message in status["message"]


async def test_only_labels_and_annotations_of_metadata_may_change(api, converter):
    await define(api, definition({}))
    made = await api.ok("POST", path("v1"), cron("v1", "a", hostPort="h:1"))
    converter.spoil = lambda r: r["convertedObjects"][0]["metadata"].update(
        labels={"a": "b"}, finalizers=["x/y"], creationTimestamp="2000-01-01T00:00:00Z"
    )
    meta = (await api.ok("GET", path("v2", "a")))["metadata"]
    assert meta["labels"] == {"a": "b"}
    assert "finalizers" not in meta
    assert meta["creationTimestamp"] == made["metadata"]["creationTimestamp"]


async def test_a_broken_webhook_does_not_keep_the_definition_from_going(api, converter):
    await define(api, definition({}))
    await api.ok("POST", path("v1"), cron("v1", "a", hostPort="h:1"))
    converter.down = True
    assert (await api("GET", path("v2", "a")))[1]["message"].endswith("connection refused")
    assert (await api.ok("GET", path("v1", "a")))["spec"] == {"hostPort": "h:1"}
    await api.ok("DELETE", f"{CRDS}/crons.{GROUP}")
    async with asyncio.timeout(5):
        while (await api("GET", f"{CRDS}/crons.{GROUP}"))[0] != 404:
            await asyncio.sleep(0)


async def test_without_conversion_each_version_keeps_what_it_declares(api):
    await define(api, definition())
    await api.ok("POST", path("v1"), cron("v1", "a", hostPort="h:1"))
    assert (await api.ok("GET", path("v2", "a")))["spec"] == {}
    await api.ok("POST", path("v2"), cron("v2", "b", host="h", port="1"))
    assert (await api.ok("GET", path("v2", "b")))["spec"] == {}


async def test_dry_runs_are_shown_in_the_version_that_was_asked_for(api):
    await define(api, definition({}))
    made = await api.ok("POST", path("v2"), cron("v2", "b", host="h", port="1"), dryRun="All")
    assert made["spec"] == {"host": "h", "port": "1"}
    assert "resourceVersion" not in made["metadata"]
    assert (await api("GET", path("v2", "b")))[0] == 404


async def test_defaults_that_came_later_are_shown_and_stored_only_by_writes(api):
    await define(api, definition())
    await api.ok("POST", path("v1"), cron("v1", "a"))
    before = (await api.ok("GET", path("v1", "a")))["metadata"]["resourceVersion"]
    where = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/hostPort/default"
    await change(api, {"op": "add", "path": where, "value": "x:1"})
    found = await api.ok("GET", path("v1", "a"))
    assert (found["spec"], found["metadata"]["resourceVersion"]) == ({"hostPort": "x:1"}, before)
    chosen = await api.ok("GET", path("v1"), fieldSelector="spec.hostPort=x:1")
    assert [item["metadata"]["name"] for item in chosen["items"]] == ["a"]
    watch = await api.respond("GET", path("v1"), watch="true", timeoutSeconds="5")
    assert orjson.loads(await anext(watch.stream))["object"]["spec"] == {"hostPort": "x:1"}
    await watch.stream.aclose()
    await api.ok("PATCH", path("v1", "a"), {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)
    await change(api, {"op": "remove", "path": where})
    assert (await api.ok("GET", path("v1", "a")))["spec"] == {"hostPort": "x:1"}


async def test_fields_that_are_no_longer_declared_are_not_shown(api):
    await define(api, definition())
    await api.ok("POST", path("v1"), cron("v1", "a", hostPort="h:1"))
    remove = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/hostPort"
    await change(api, {"op": "remove", "path": "/spec/versions/0/selectableFields"}, {"op": "remove", "path": remove})
    assert (await api.ok("GET", path("v1", "a")))["spec"] == {}
    table = await api.ok("GET", path("v1"), accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert table["rows"][0]["cells"][0] == "a"


async def test_watches_end_when_the_definition_changes(api):
    await define(api, definition())
    watch = await api.respond("GET", path("v1"), watch="true", timeoutSeconds="60")
    await change(api, {"op": "add", "path": "/spec/versions/0/additionalPrinterColumns",
                       "value": [{"name": "P", "type": "string", "jsonPath": ".spec.hostPort"}]})  # fmt: skip
    async with asyncio.timeout(5):
        assert [lines async for lines in watch.stream] == []


async def test_versions_are_discovered_in_order_of_preference_and_deprecation_is_told(api):
    made = definition(deprecated=True)
    made["spec"]["versions"].append({**copy.deepcopy(made["spec"]["versions"][1]), "name": "v3beta1"})
    await define(api, made)
    group = await api.ok("GET", f"/apis/{GROUP}")
    assert [each["version"] for each in group["versions"]] == ["v2", "v1", "v3beta1"]
    answer = await api.respond("GET", path("v1"))
    assert answer.headers["Warning"] == f'299 - "{GROUP}/v1 Cron is deprecated; use {GROUP}/v2 Cron"'
    assert "Warning" not in (await api.respond("GET", path("v2"))).headers


HOOKS = "/apis/admissionregistration.k8s.io/v1"


class Both(Converter):
    """Converts, and as a webhook of admission adds a label and notes what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[dict[str, Any]] = []

    async def __call__(self, destination: Destination, body: bytes) -> tuple[int, bytes]:
        if "converter" in destination.url:
            return await super().__call__(destination, body)
        review = orjson.loads(body)
        request = review.pop("request")
        self.shown.append(request)
        patch = [{"op": "add", "path": "/spec/port", "value": "99"}]
        review["response"] = {
            "uid": request["uid"], "allowed": True, "patchType": "JSONPatch",
            "patch": base64.b64encode(orjson.dumps(patch)).decode(),
        }  # fmt: skip
        return 200, orjson.dumps(review)


async def test_admission_sees_the_version_that_it_asked_for_and_its_changes_are_converted_back():
    both = Both()
    async with serving(post=both) as api:
        await define(api, definition({}))
        rule = {"apiGroups": [GROUP], "apiVersions": ["v2"], "resources": ["crons"], "operations": ["CREATE", "UPDATE"]}
        webhook = {
            "name": "port.example.com", "clientConfig": {"url": "https://hook.test/"}, "rules": [rule],
            "sideEffects": "None", "admissionReviewVersions": ["v1"], "matchPolicy": "Equivalent",
        }  # fmt: skip
        configuration = {"metadata": {"name": "m"}, "webhooks": [webhook]}
        await api.ok("POST", f"{HOOKS}/mutatingwebhookconfigurations", configuration)
        made = await api.ok("POST", path("v1"), cron("v1", "a", hostPort="h:1"))
        assert made["spec"] == {"hostPort": "h:99"}
        assert (await api.ok("GET", path("v2", "a")))["spec"] == {"host": "h", "port": "99"}
        await api.ok("PATCH", path("v1", "a"), {"spec": {"hostPort": "i:2"}}, content_type=MERGE)
        first, second = both.shown
        assert (first["object"]["apiVersion"], first["object"]["spec"]) == (f"{GROUP}/v2", {"host": "h", "port": "1"})
        assert (first["requestKind"]["version"], first["kind"]["version"]) == ("v1", "v2")
        assert second["oldObject"]["spec"] == {"host": "h", "port": "99"}


async def test_a_version_goes_after_its_objects_were_written_anew(api):
    await define(api, definition({}))
    await api.ok("POST", path("v1"), cron("v1", "a", hostPort="h:1"))
    await change(api, *store("v2"))
    drop = {"op": "remove", "path": "/spec/versions/0"}
    code, status = await api("PATCH", f"{CRDS}/crons.{GROUP}", [drop], content_type=JSON_PATCH)
    assert code == 422
    assert "v1 was previously a storage version" in status["message"]
    # A write that changes nothing stores the object in today's version.
    await api.ok("PUT", path("v2", "a"), await api.ok("GET", path("v2", "a")))
    stored = [orjson.loads(r.value) for r in (await api.assembled.cache.store.list(f"/registry/{GROUP}/")).records]
    assert [obj["apiVersion"] for obj in stored] == [f"{GROUP}/v2"]
    migrated = {"status": {"storedVersions": ["v2"]}}
    await api.ok("PATCH", f"{CRDS}/crons.{GROUP}/status", migrated, content_type=MERGE)
    await change(api, drop)
    assert (await api("GET", path("v1", "a")))[0] == 404
    assert (await api.ok("GET", path("v2", "a")))["spec"] == {"host": "h", "port": "1"}


def owned(obj: dict[str, Any]) -> dict[tuple[str, str], Any]:
    entries = obj["metadata"]["managedFields"]
    return {(e["manager"], e["apiVersion"].rpartition("/")[2]): e["fieldsV1"].get("f:spec") for e in entries}


async def test_managers_own_fields_in_the_version_that_they_wrote(api):
    await define(api, definition({}))
    await api.ok("POST", path("v1"), cron("v1", "a", hostPort="h:1"), fieldManager="one")
    new = await api.ok("PATCH", path("v2", "a"), {"spec": {"port": "2"}}, content_type=MERGE, fieldManager="two")
    # The port is a part of what the first wrote, so that is taken over; that there is a spec stays the first's.
    assert owned(new) == {("one", "v1"): {}, ("two", "v2"): {"f:port": {}}}
    media = "application/apply-patch+yaml"
    mine = cron("v1", "a", hostPort="i:3")
    code, status = await api("PATCH", path("v1", "a"), mine, content_type=media, fieldManager="three")
    assert code == 409
    assert 'conflict with "two" using stable.example.com/v2: .spec.port' in status["message"]
    new = await api.ok("PATCH", path("v1", "a"), mine, content_type=media, fieldManager="three", force="true")
    assert owned(new) == {("one", "v1"): {}, ("three", "v1"): {"f:hostPort": {}}}


async def test_objects_of_an_older_version_go_without_their_webhook(api, converter):
    await define(api, definition({}))
    await api.ok("POST", path("v1"), cron("v1", "a", hostPort="h:1"))
    await change(api, *store("v2"))
    converter.down = True
    await api.ok("DELETE", f"{CRDS}/crons.{GROUP}")
    async with asyncio.timeout(5):
        while (await api("GET", f"{CRDS}/crons.{GROUP}"))[0] != 404:
            await asyncio.sleep(0)
    assert not (await api.assembled.cache.store.list(f"/registry/{GROUP}/")).records
