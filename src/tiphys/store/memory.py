"""The store in memory: for tests, simulations and clusters that may forget everything.

Durable means nothing here; all else is the contract: revisions, history until `compact`, ordered watches.
Everything happens within one turn of the event loop, so no lock is needed.
"""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from operator import attrgetter
from pathlib import Path

import orjson

from tiphys.store.fanout import CAPACITY, Fanout
from tiphys.store.protocol import (
    ABSENT,
    ANY,
    Compacted,
    Conflict,
    Event,
    FutureRevision,
    Page,
    Record,
    Revision,
    Unavailable,
    not_empty,
)

_LAST = "\U0010ffff"
_revision_of = attrgetter("revision")


class MemoryStore:
    """Implements `Store`. An empty store is at revision 1, as etcd's is: 0 means "any" in the API above."""

    def __init__(self, *, watch_capacity: int = CAPACITY) -> None:
        self._revision: Revision = 1
        self._compacted: Revision = 0
        self._current: dict[str, Record] = {}
        self._keys: list[str] = []
        # All events above `_compacted`, in order.
        self._log: list[Event] = []
        self._fanout = Fanout(watch_capacity)
        self._closed = False

    @property
    def revision(self) -> Revision:
        return self._revision

    async def current(self) -> Revision:
        return self.revision

    async def get(self, key: str) -> Record | None:
        self._check_open()
        return self._current.get(key)

    async def list(self, prefix: str, *, after: str = "", limit: int = 0, revision: Revision = 0) -> Page:
        self._check_open()
        as_of = self._readable(revision or self._revision)
        keys, current = self._keys, self._current
        if as_of != self._revision:
            current = self._undo(as_of)
            keys = sorted(current)
        start = max(bisect_left(keys, prefix), bisect_right(keys, after))
        end = bisect_left(keys, prefix + _LAST)
        stop = min(end, start + limit) if limit else end
        records = [current[key] for key in keys[start:stop]]
        remaining = max(0, end - stop)
        return Page(records, as_of, remaining > 0, remaining)

    async def put(self, key: str, value: bytes, expect: Revision = ANY) -> Revision:
        previous = self._expect(key, expect)
        revision = self._revision + 1
        record = Record(key, value, revision, previous.created if previous else revision)
        if previous is None:
            insort(self._keys, key)
        self._current[key] = record
        self._commit(Event(key, revision, value, previous))
        return revision

    async def delete(self, key: str, expect: Revision = ANY) -> Revision:
        previous = self._expect(key, expect)
        if previous is None:
            raise Conflict(key, None)
        del self._current[key]
        del self._keys[bisect_left(self._keys, key)]
        self._commit(Event(key, self._revision + 1, None, previous))
        return self._revision

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: Revision) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        self._check_open()
        self._readable(after)
        start = bisect_right(self._log, after, key=_revision_of)
        backlog = [event for event in self._log[start:] if event.key.startswith(prefix)]
        watcher = self._fanout.subscribe(prefix, self._revision)
        watcher.preload(backlog)
        try:
            yield watcher
        finally:
            self._fanout.unsubscribe(watcher)

    async def compact(self, revision: Revision) -> None:
        self._check_open()
        if revision > self._revision:
            raise FutureRevision(revision, self._revision)
        if revision > self._compacted:
            self._compacted = revision
            del self._log[: bisect_right(self._log, revision, key=_revision_of)]

    async def snapshot(self, path: Path) -> Revision:
        """Lines of JSON: the revision, then key, created, revision and value (as latin-1 text) of each record."""
        self._check_open()
        revision, records = self._revision, list(self._current.values())
        await asyncio.to_thread(_write_lines, path, revision, records)
        return revision

    async def fill(self, records: AsyncIterable[Sequence[Record]], revision: Revision) -> Revision:
        self._check_open()
        if self._log or self._current or self._revision > revision:
            raise not_empty("the store in memory")
        self._revision = revision
        async for batch in records:
            for record in batch:
                self._revision += 1
                self._current[record.key] = Record(record.key, record.value, self._revision, self._revision)
        self._keys = sorted(self._current)
        self._compacted = self._revision
        return self._revision

    async def close(self) -> None:
        self._closed = True
        self._fanout.close(Unavailable("the store is closed"))

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the store is closed")

    def _readable(self, revision: Revision) -> Revision:
        if revision > self._revision:
            raise FutureRevision(revision, self._revision)
        if revision < self._compacted:
            raise Compacted(revision, self._compacted)
        return revision

    def _expect(self, key: str, expect: Revision) -> Record | None:
        self._check_open()
        current = self._current.get(key)
        if expect != ANY and (current.revision if current else ABSENT) != expect:
            raise Conflict(key, current)
        return current

    def _commit(self, event: Event) -> None:
        self._revision = event.revision
        self._log.append(event)
        self._fanout.publish((event,))

    def _undo(self, revision: Revision) -> dict[str, Record]:
        """What was current as of `revision`: the changes since then, taken back newest first."""
        current = dict(self._current)
        for event in reversed(self._log[bisect_right(self._log, revision, key=_revision_of) :]):
            if event.previous is None:
                del current[event.key]
            else:
                current[event.key] = event.previous
        return current


def _lines(revision: Revision, records: Sequence[Record]) -> Iterator[bytes]:
    yield orjson.dumps({"revision": revision})
    for record in records:
        yield orjson.dumps([record.key, record.created, record.revision, record.value.decode("latin-1")])


def _write_lines(path: Path, revision: Revision, records: Sequence[Record]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.writelines(line + b"\n" for line in _lines(revision, records))
