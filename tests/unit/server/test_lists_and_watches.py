"""Lists in pages, selectors, and watches from every starting point."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

CM = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


async def fill(api: Any, *names: str, **labels: str) -> None:
    for name in names:
        await api.ok("POST", CM, {"metadata": {"name": name, "labels": labels}})


def named(listed: Any) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


async def take(response: Any, count: int) -> list[Any]:
    """The first `count` events of a watch."""
    events: list[Any] = []
    async with asyncio.timeout(5):
        while len(events) < count:
            chunk = await anext(response.stream)
            events += [orjson.loads(line) for line in chunk.splitlines()]
    await response.stream.aclose()
    return events


async def test_a_list_has_kind_version_and_revision(api):
    await fill(api, "b", "a")
    listed = await api.ok("GET", CM)
    assert (listed["kind"], listed["apiVersion"], named(listed)) == ("ConfigMapList", "v1", ["a", "b"])
    assert int(listed["metadata"]["resourceVersion"]) > 0


async def test_selectors_choose(api):
    await fill(api, "a", "b", tier="front")
    await fill(api, "c", tier="back")
    assert named(await api.ok("GET", CM, labelSelector="tier in (front),tier!=back")) == ["a", "b"]
    assert named(await api.ok("GET", CM, fieldSelector="metadata.name!=b")) == ["a", "c"]
    assert (await api("GET", CM, fieldSelector="data.x=1"))[0] == 400
    assert (await api("GET", CM, labelSelector="a in (b"))[0] == 400


async def test_pages_show_the_moment_of_the_first_page(api):
    await fill(api, "a", "b", "c", "d", "e")
    first = await api.ok("GET", CM, limit="2")
    assert (named(first), first["metadata"]["remainingItemCount"]) == (["a", "b"], 3)
    await api.ok("DELETE", f"{CM}/d")
    await fill(api, "cc")
    second = await api.ok("GET", CM, limit="2", continue_=first["metadata"]["continue"])
    assert named(second) == ["c", "d"]
    third = await api.ok("GET", CM, limit="2", continue_=second["metadata"]["continue"])
    assert named(third) == ["e"]
    assert "continue" not in third["metadata"]


async def test_a_page_of_a_forgotten_moment_is_expired_and_offers_to_go_on(api):
    await fill(api, "a", "b", "c")
    first = await api.ok("GET", CM, limit="1")
    await fill(api, "d")
    store = api.assembled.cache.store
    await store.compact(store.revision)
    code, status = await api("GET", CM, limit="1", continue_=first["metadata"]["continue"])
    assert (code, status["reason"]) == (410, "Expired")
    rest = await api.ok("GET", CM, continue_=status["metadata"]["continue"])
    assert named(rest) == ["b", "c", "d"]


@pytest.mark.parametrize(
    "query",
    [
        {"continue_": "garbage"}, {"limit": "x"}, {"resourceVersion": "-1"}, {"resourceVersion": "abc"},
    ],
)  # fmt: skip
async def test_bad_list_options_are_bad_requests(api, query):
    assert (await api("GET", CM, **query))[0] == 400


async def test_an_exact_list_of_the_past(api):
    await fill(api, "a")
    then = (await api.ok("GET", CM))["metadata"]["resourceVersion"]
    await fill(api, "b")
    listed = await api.ok("GET", CM, resourceVersion=then, resourceVersionMatch="Exact")
    assert (named(listed), listed["metadata"]["resourceVersion"]) == (["a"], then)


async def test_a_table_shows_the_kinds_columns(api):
    await fill(api, "a")
    table = await api.ok("GET", CM, accept=f"{TABLE},application/json")
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert table["rows"][0]["cells"][:2] == ["a", 0]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


async def test_metadata_only(api):
    await api.ok("POST", CM, {"metadata": {"name": "a"}, "data": {"x": "1"}})
    found = await api.ok("GET", f"{CM}/a", accept=PARTIAL)
    assert found["kind"] == "PartialObjectMetadata"
    assert "data" not in found


async def test_a_watch_begins_with_what_is_there(api):
    await fill(api, "a")
    response = await api.respond("GET", CM, watch="true")
    await fill(api, "b")
    events = await take(response, 2)
    assert [(e["type"], e["object"]["metadata"]["name"]) for e in events] == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_watch_resumes_after_a_revision(api):
    await fill(api, "a")
    revision = (await api.ok("GET", CM))["metadata"]["resourceVersion"]
    made = await api.ok("POST", CM, {"metadata": {"name": "b"}})
    await api.ok("PUT", f"{CM}/b", {**made, "data": {"x": "1"}})
    await api.ok("DELETE", f"{CM}/b")
    events = await take(await api.respond("GET", CM, watch="true", resourceVersion=revision), 3)
    assert [e["type"] for e in events] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(e["object"]["metadata"]["resourceVersion"]) for e in events]
    assert versions == sorted(set(versions))


async def test_a_watch_from_before_the_caches_history_is_replayed_by_the_store(api):
    revision = (await api.ok("GET", CM))["metadata"]["resourceVersion"]
    await fill(api, *(f"c{number:04}" for number in range(1100)))
    events = await take(await api.respond("GET", CM, watch="true", resourceVersion=revision), 1100)
    assert [e["object"]["metadata"]["name"] for e in events[:2]] == ["c0000", "c0001"]


async def test_a_watch_of_a_compacted_revision_is_expired(api):
    revision = (await api.ok("GET", CM))["metadata"]["resourceVersion"]
    await fill(api, *(f"c{number:04}" for number in range(1100)))
    await api.assembled.cache.store.compact(api.assembled.cache.store.revision)
    assert (await api("GET", CM, watch="true", resourceVersion=revision))[0] == 410


async def test_what_leaves_a_selection_is_deleted_for_its_watchers(api):
    response = await api.respond("GET", CM, watch="true", labelSelector="in=yes")
    made = await api.ok("POST", CM, {"metadata": {"name": "a", "labels": {"in": "yes"}}})
    made["metadata"]["labels"] = {"in": "no"}
    await api.ok("PUT", f"{CM}/a", made)
    assert [e["type"] for e in await take(response, 2)] == ["ADDED", "DELETED"]


async def test_streaming_a_list_ends_with_a_bookmark(api):
    await fill(api, "a", "b")
    response = await api.respond(
        "GET",
        CM,
        watch="true",
        sendInitialEvents="true",
        resourceVersionMatch="NotOlderThan",
        allowWatchBookmarks="true",
    )
    events = await take(response, 3)
    assert [e["type"] for e in events] == ["ADDED", "ADDED", "BOOKMARK"]
    assert events[2]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_of_one_name_sees_no_other(api):
    response = await api.respond("GET", CM, watch="true", fieldSelector="metadata.name=b")
    await fill(api, "a", "b")
    assert [e["object"]["metadata"]["name"] for e in await take(response, 1)] == ["b"]


async def test_a_watcher_that_does_not_read_is_told_to_list_again(api):
    response = await api.respond("GET", CM, watch="true")
    (watcher,) = api.assembled.server.watches.open
    watcher.limit = 3
    await fill(api, "a", "b", "c", "d", "e")
    (event,) = await take(response, 1)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


async def test_a_watch_that_ends_leaves_nothing_behind(api):
    response = await api.respond("GET", CM, watch="true")
    await response.stream.aclose()
    assert not api.assembled.server.watches.open
