"""Whatever a client sends, to whatever kind: the answer may be a refusal, never an internal error."""

from __future__ import annotations

import pytest

from tiphys.api import facts
from tiphys.api import schema as s
from tiphys.api.http import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH
from tiphys.kinds.registry import builtin

RESOURCES = sorted(builtin(), key=lambda r: (r.group, r.version, r.plural))
ODD = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b'"x"',
    b"5",
    b"{",
    b"\xff",
    b'{"metadata":null}',
    b'{"metadata":[]}',
    b'{"metadata":{"name":5}}',
    b'{"metadata":{"name":"a","labels":[]}}',
    b'{"metadata":{"name":"a","labels":{"a":1}}}',
    b'{"metadata":{"name":"a","managedFields":[{}]}}',
    b'{"metadata":{"name":"a","ownerReferences":[{}]}}',
    b'{"metadata":{"name":"a","finalizers":["x"]}}',
    b'{"metadata":{"name":"a"},"spec":null}',
    b'{"metadata":{"name":"a"},"spec":[]}',
    b'{"metadata":{"name":"a"},"spec":{}}',
    b'{"metadata":{"name":"a"},"status":{}}',
    b'{"metadata":{"name":"a","generateName":"b","resourceVersion":"x","uid":"y"}}',
]
PATCHES = {
    JSON_PATCH: [
        b"{}",
        b"[]",
        b"[1]",
        b'[{"op":"add"}]',
        b'[{"op":"remove","path":""}]',
        b'[{"op":"replace","path":"","value":1}]',
    ],
    MERGE_PATCH: [
        b"[]",
        b"null",
        b'{"metadata":null}',
        b'{"metadata":{"name":"b"}}',
        b'{"spec":null}',
        b'{"spec":[]}',
        b'{"kind":"X"}',
    ],
    STRATEGIC_PATCH: [
        b"[]",
        b'{"$patch":"delete"}',
        b'{"metadata":{"$patch":"replace"}}',
        b'{"spec":{"$patch":"x"}}',
        b'{"$retainKeys":5}',
    ],
    APPLY_PATCH: [
        b"[]",
        b"{}",
        b"a: b",
        b"kind: X\napiVersion: v1",
        b"- 1",
        b"a: [",
        b'{"metadata":{"managedFields":[1]}}',
    ],
}


def wrong(field: s.Schema, depth: int):
    """A value of the right shape whose leaves are odd: empty, negative, far too large."""
    if field.code == s.OBJECT:
        return {name: wrong(child, depth + 1) for name, child in field.properties.items()} if depth < 6 else {}
    if field.code == s.ARRAY:
        return [wrong(field.items, depth + 1)] * 2 if depth < 6 else []
    if field.code == s.MAP:
        return {"-bad key": wrong(field.additional, depth + 1)} if depth < 6 else {}
    return {
        s.STRING: "",
        s.INTEGER: -1,
        s.NUMBER: -1.5,
        s.BOOLEAN: True,
        s.QUANTITY: "-1",
        s.BYTES: "",
        s.INT_OR_STRING: "x%",
        s.TIME: "2026-01-02T03:04:05Z",
        s.MICRO_TIME: "2026-01-02T03:04:05.000000Z",
    }.get(field.code, {})


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: f"{r.group_resource}/{r.version}")
async def test_odd_requests_are_refused(api, resource):
    collection = resource.path(namespace="default" if resource.namespaced else "")
    named = f"{collection}/a"
    bodies = list(ODD)
    found: list[str] = []

    async def send(method: str, path: str, body=None, **options) -> None:
        response = await api.respond(method, path, body, **options)
        if response.status >= 500 and response.status != 503:
            found.append(f"{method} {path} {body!r:.200} {options}: {response.body!r:.300}")
        if response.stream is not None:
            await response.stream.aclose()

    if resource.schema:
        obj = wrong(facts.schema(resource.schema), 0)
        obj["metadata"] = {"name": "a"}
        obj.pop("apiVersion", None), obj.pop("kind", None)
        bodies.append(obj)
    for body in bodies:
        await send("POST", collection, body)
        await send("PUT", named, body)
        for subresource in ("status", "scale"):
            await send("PUT", f"{named}/{subresource}", body)
        await send("DELETE", named, body)
    for media, patches in PATCHES.items():
        for body in patches:
            await send("POST", collection, {"metadata": {"name": "a"}})
            await send("PATCH", named, body, content_type=media, fieldManager="m")
    for query in (
        {"limit": "x"},
        {"limit": "-1"},
        {"continue": "x"},
        {"continue": "eyJ2IjoxfQ"},
        {"resourceVersion": "x"},
        {"resourceVersion": "99999999999999999999"},
        {"labelSelector": "!!"},
        {"labelSelector": "a in ("},
        {"fieldSelector": "x=y"},
        {"fieldSelector": "a"},
        {"timeoutSeconds": "x", "watch": "1"},
        {"watch": "x"},
        {"resourceVersionMatch": "Exact"},
        {"sendInitialEvents": "true", "watch": "1"},
        {"dryRun": "x"},
    ):
        await send("GET", collection, **query)
        await send("DELETE", collection, **query)
    assert found == []
