"""The watch cache takes up what it missed when the store forgot the history between."""

from __future__ import annotations

import asyncio

import orjson

from tiphys.server.cache import Cache, Watcher, splice, unspliced
from tiphys.server.heads import PLAIN
from tiphys.store import Record
from tiphys.store.memory import MemoryStore

PREFIX = "/registry/core/configmaps/"


def body(name: str, value: str = "") -> bytes:
    meta = {"name": name, "namespace": "d", "labels": {}}
    return orjson.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"v": value}})


async def test_what_was_missed_is_taken_up_with_events():
    store = MemoryStore()
    await store.put(f"{PREFIX}d/kept", body("kept"))
    await store.put(f"{PREFIX}d/gone", body("gone"))
    cache = Cache(store, lambda prefix: {})
    await cache.load()
    watcher = Watcher(lambda entry: True)
    cache.of(PREFIX).add(watcher)
    await store.put(f"{PREFIX}d/kept", body("kept", "new"))
    await store.delete(f"{PREFIX}d/gone")
    await store.put(f"{PREFIX}d/come", body("come"))
    await store.compact(store.revision)
    task = asyncio.create_task(cache.run())
    async with asyncio.timeout(5):
        await cache.fresh()
    events = {(kind, entry.name) for kind, entry in await watcher.next()}
    assert events == {("MODIFIED", "kept"), ("DELETED", "gone"), ("ADDED", "come")}
    assert set(cache.of(PREFIX).items) == {f"{PREFIX}d/kept", f"{PREFIX}d/come"}
    await store.put(f"{PREFIX}d/later", body("later"))
    async with asyncio.timeout(5):
        await cache.fresh()
        assert [entry.name for _, entry in await watcher.next()] == ["later"]
    task.cancel()


def test_an_entry_gives_back_what_was_stored():
    from tiphys.server.cache import Entry

    record = Record(f"{PREFIX}d/a", body("a"), 7, 5)
    entry = Entry(record, PLAIN)
    assert entry.data == splice(record.value, 7)
    assert unspliced(entry) == record


async def test_the_history_of_large_objects_is_short():
    store = MemoryStore()
    cache = Cache(store, lambda prefix: {})
    await cache.load()
    task = asyncio.create_task(cache.run())
    for number in range(12):
        await store.put(f"{PREFIX}d/large", body("large", str(number) * 1024 * 1024))
    async with asyncio.timeout(5):
        await cache.fresh()
    collection = cache.of(PREFIX)
    assert sum(len(change.new.data) for change in collection.history if change.new) <= 8 * 1024 * 1024
    assert collection.since == collection.history[0].revision - 1
    task.cancel()
