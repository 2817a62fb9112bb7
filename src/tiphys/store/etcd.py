"""The store in a real etcd cluster (3.4 or newer), over its v3 gRPC API.

One watch over everything that is ours feeds all watchers here, and a write is answered only once that watch has shown
it: so a watcher sees a write no later than its writer does, whichever server it was sent to. Reads are linearizable.
A write that compares is tried again when its answer is lost, as after the loss of a leader. One that does not, or whose
key was changed by others meanwhile, is `Unavailable` although it may have happened; whoever retries must expect that.
etcd's own count cannot be set, so a store that was filled keeps how far it is ahead of it beside our keys: `_offset` is
added to every revision that leaves here, and taken from every one that comes in. `_seen` and `_changed` are etcd's own.
Source: https://etcd.io/docs/v3.4/learning/api/
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock, SystemClock
from tiphys.base.log import Log
from tiphys.store import etcd_pb2 as pb
from tiphys.store.etcd_api import MARK, EtcdApi, WatchBroken, WatchCompacted
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

_log = Log("etcd")
_PAGE = 1000
# Of filling: how many batches are under way at a time, and what etcd takes in one, by number and bytes.
_PARALLEL, _OPERATIONS, _BYTES = 4, 128, 1024 * 1024
# How long the watch may take to show what a read has seen, before it is asked in another way. Seconds.
_PATIENCE = 0.1
# For how long it may show nothing although there is something. Seconds.
_STALLED = 1.0


class EtcdStore:
    """Implements `Store`. Every key begins with a slash; other keys of the same etcd are not seen."""

    def __init__(
        self, api: EtcdApi, revision: Revision, clock: Clock, *, offset: int = 0, watch_capacity: int = CAPACITY
    ) -> None:
        self._api, self._clock, self._offset = api, clock, offset
        # How far the watch has come, the last change of one of our keys that it showed, and where it began.
        self._seen, self._changed, self._opened = revision, 0, revision
        self._fanout = Fanout(watch_capacity)
        self._waiters: list[tuple[Revision, asyncio.Future[None]]] = []
        # When the watch last showed anything.
        self._heard = clock.monotonic()
        self._closed = False
        self._feeder: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, endpoints: Sequence[str], tls: ssl.SSLContext | None = None, clock: Clock | None = None,
        *, watch_capacity: int = CAPACITY,
    ) -> Self:  # fmt: skip
        """Connect to `endpoints` (HOST:PORT each), with TLS if a context is given. Raises Unavailable."""
        api = EtcdApi(endpoints, tls)
        revision, offset = await api.revision(), await api.offset()
        store = cls(api, revision, clock or SystemClock(), offset=offset, watch_capacity=watch_capacity)
        store._follow()
        return store

    def _follow(self) -> None:
        self._feeder = asyncio.create_task(self._feed(), name="etcd watch")

    @property
    def full(self) -> asyncio.Event:
        """Set when etcd refused a write for want of space."""
        return self._api.full

    @property
    def revision(self) -> Revision:
        """That of our last change, so that who follows our keys gets there; keys of others count on beyond it."""
        return (self._changed or self._opened) + self._offset

    async def current(self) -> Revision:
        self._check_open()
        newest = await self._api.revision()
        if self._seen < newest:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._shown(newest)
            except TimeoutError:
                # What was written last is not ours; a write of our own comes behind it on the same watch.
                await self._shown(await self._api.mark())
        return self.revision

    async def get(self, key: str) -> Record | None:
        self._check_open()
        found = await self._api.range(pb.RangeRequest(key=key.encode()))
        return self._record(found.kvs[0]) if found.kvs else None

    async def list(self, prefix: str, *, after: str = "", limit: int = 0, revision: Revision = 0) -> Page:
        self._check_open()
        start = max(prefix.encode(), after.encode() + b"\0" if after else b"")
        if 0 < revision <= self._offset:
            raise await self._out_of_range(revision)
        at = revision - self._offset if revision else 0
        request = pb.RangeRequest(key=start, range_end=_end(prefix), limit=limit, revision=at)
        try:
            found = await self._api.range(request)
        except IndexError:
            raise await self._out_of_range(revision) from None
        records = [self._record(kv) for kv in found.kvs]
        remaining = found.count - len(records)
        return Page(records, revision or found.header.revision + self._offset, remaining > 0, remaining)

    async def put(self, key: str, value: bytes, expect: Revision = ANY) -> Revision:
        write = pb.RequestOp(request_put=pb.PutRequest(key=key.encode(), value=value))
        compare = [] if expect == ANY else [self._stands(key, expect)]
        return await self._write(key, write, compare, repeat=expect != ANY)

    async def delete(self, key: str, expect: Revision = ANY) -> Revision:
        write = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key.encode()))
        if expect == ABSENT:
            raise Conflict(key, await self.get(key))
        compare = _exists(key) if expect == ANY else self._stands(key, expect)
        return await self._write(key, write, [compare], repeat=expect != ANY)

    async def _write(self, key: str, write: pb.RequestOp, compare: Sequence[pb.Compare], *, repeat: bool) -> Revision:
        """`repeat`: whether what it compares lets it happen but once."""
        self._check_open()
        look = pb.RequestOp(request_range=pb.RangeRequest(key=key.encode()))
        request = pb.TxnRequest(compare=compare, success=[write], failure=[look])
        done, lost = await self._api.txn(request, repeat=repeat)
        revision: Revision = done.header.revision
        if not done.succeeded:
            kvs = done.responses[0].response_range.kvs
            current = self._record(kvs[0]) if kvs else None
            if not lost:
                raise Conflict(key, current)
            if not _is_done(write, current):
                # An earlier try may have been carried out, and somebody else have written since.
                raise Unavailable(f"the answer to a write of {key} was lost; it may have happened")
            # It was that earlier try of ours that is in the way.
            revision = kvs[0].mod_revision if kvs else revision
        await self._shown(revision)
        return revision + self._offset

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: Revision) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        self._check_open()
        if after > self._seen + self._offset:
            # Others may have written what we were not shown yet.
            await self.current()
        seen = self._seen + self._offset
        if after > seen:
            raise FutureRevision(after, seen)
        watcher = self._fanout.subscribe(prefix, seen)
        try:
            watcher.preload(await self._history(prefix, after, watcher.position))
            yield watcher
        finally:
            self._fanout.unsubscribe(watcher)

    async def _history(self, prefix: str, after: Revision, until: Revision) -> Sequence[Event]:
        if after >= ((self._changed + self._offset) if self._changed else until):
            return ()
        if after < self._offset:
            raise await self._out_of_range(after)
        last = self._changed or await self._api.mark()
        try:
            past = [self._event(event) for event in await self._api.history(after - self._offset, last)]
        except WatchCompacted as error:
            raise Compacted(after, error.oldest + self._offset) from None
        except WatchBroken as error:
            raise Unavailable(error.reason) from error
        return [event for event in past if event.revision <= until and event.key.startswith(prefix)]

    async def compact(self, revision: Revision) -> None:
        self._check_open()
        if revision <= self._offset:
            return
        try:
            await self._api.compact(revision - self._offset)
        except IndexError:
            error = await self._out_of_range(revision)
            # What is compacted already need not be compacted again.
            if isinstance(error, FutureRevision):
                raise error from None

    async def snapshot(self, path: Path) -> Revision:
        """Lines of JSON: the revision, then key, created, revision and value (as latin-1 text) of each record."""
        self._check_open()
        page = await self.list("/", limit=_PAGE)
        revision, first = page.revision, json.dumps({"revision": page.revision})
        await asyncio.to_thread(_create, path, first)
        while True:
            await asyncio.to_thread(_append, path, page.records)
            if not page.more:
                return revision
            page = await self.list("/", after=page.records[-1].key, limit=_PAGE, revision=revision)

    async def fill(self, records: AsyncIterable[Sequence[Record]], revision: Revision) -> Revision:
        """Other stores that are open on the same etcd meanwhile do not learn of it: there must be none."""
        self._check_open()
        if self.revision > max(revision, 1) or (await self.list("/", limit=1)).records:
            raise not_empty("this etcd")
        # What is loaded concerns no watcher, so it need not be followed.
        await self._unfollow()
        # From here on every revision of etcd's stands for a greater one of ours.
        self._offset = revision - await self._api.revision()
        await self._api.set_offset(self._offset)
        limit = asyncio.Semaphore(_PARALLEL)
        async with asyncio.TaskGroup() as group:
            async for batch in records:
                for part in _parts(batch):
                    await limit.acquire()
                    group.create_task(self._put_all(part, limit))
        self._seen = self._opened = await self._api.mark()
        self._changed = 0
        await self._api.compact(self._opened)
        self._follow()
        return self.revision

    async def _put_all(self, records: Sequence[Record], limit: asyncio.Semaphore) -> None:
        try:
            puts = [pb.PutRequest(key=record.key.encode(), value=record.value) for record in records]
            await self._api.txn(pb.TxnRequest(success=[pb.RequestOp(request_put=put) for put in puts]))
        finally:
            limit.release()

    async def _unfollow(self) -> None:
        if self._feeder is not None:
            self._feeder.cancel()
            with suppress(asyncio.CancelledError):
                await self._feeder

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._unfollow()
        gone = Unavailable("the store is closed")
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(gone)
        self._fanout.close(gone)
        self._api.close()

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the store is closed")

    async def _out_of_range(self, revision: Revision) -> Compacted | FutureRevision:
        """Which end the revision is beyond: etcd has one code for both."""
        current = await self._api.revision() + self._offset
        if revision > current:
            return FutureRevision(revision, current)
        return Compacted(revision, await self._api.oldest(max(1, revision - self._offset)) + self._offset)

    async def _shown(self, revision: Revision) -> None:
        """Wait until the watch has shown a revision to all watchers."""
        while self._seen < revision:
            self._check_open()
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((revision, waiter))
            try:
                async with asyncio.timeout(_STALLED):
                    await waiter
            except TimeoutError:
                self._watch_anew()

    def _watch_anew(self) -> None:
        """A member that hangs, or is cut off from the others, shows nothing and does not say so: ask another one."""
        now = self._clock.monotonic()
        if now - self._heard >= _STALLED and self._feeder is not None:
            self._heard = now
            _log.warning("the watch shows nothing, opening it elsewhere")
            self._feeder.cancel()
            self._api.leave_followed()
            self._feeder = asyncio.create_task(self._feed(), name="etcd watch")

    async def _feed(self) -> None:
        """Follow all changes for ever, across broken connections."""
        backoff, failures = Backoff(maximum=5.0), 0
        while True:
            try:
                async for response in self._api.follow(self._seen + 1):
                    failures = 0
                    self._publish(response)
            except WatchCompacted as error:
                # Away for longer than history is kept: nobody's watch can go on without a gap.
                self._fanout.close(Compacted(self._seen + self._offset, error.oldest + self._offset))
                self._seen = self._changed = await self._anew()
                self._answer()
            except WatchBroken as error:
                delay = backoff.delay(failures)
                failures += 1
                _log.warning("watch broke, opening it again", reason=error.reason, delay=round(delay, 2))
                await self._clock.sleep(delay)

    async def _anew(self) -> Revision:
        """etcd's own last revision, however long it takes to tell."""
        backoff, failures = Backoff(maximum=5.0), 0
        while True:
            try:
                return await self._api.revision()
            except Unavailable as error:
                _log.warning("etcd does not tell its revision", reason=error.reason)
                await self._clock.sleep(backoff.delay(failures))
                failures += 1

    def _publish(self, response: pb.WatchResponse) -> None:
        self._heard = self._clock.monotonic()
        events = [self._event(event) for event in response.events if event.kv.key != MARK]
        if events:
            self._fanout.publish(events)
            self._changed = events[-1].revision - self._offset
        # A progress notice has no events; what changed lies outside of our keys.
        last = response.events[-1].kv.mod_revision if response.events else response.header.revision
        self._seen = max(self._seen, last)
        self._answer()

    def _answer(self) -> None:
        left = []
        for revision, waiter in self._waiters:
            if revision > self._seen:
                left.append((revision, waiter))
            elif not waiter.done():
                waiter.set_result(None)
        self._waiters = left

    def _record(self, kv: pb.KeyValue) -> Record:
        return Record(kv.key.decode(), kv.value, kv.mod_revision + self._offset, kv.create_revision + self._offset)

    def _event(self, event: pb.Event) -> Event:
        previous = self._record(event.prev_kv) if event.HasField("prev_kv") else None
        value = None if event.type == 1 else event.kv.value
        return Event(event.kv.key.decode(), event.kv.mod_revision + self._offset, value, previous)

    def _stands(self, key: str, revision: Revision) -> pb.Compare:
        # A revision from before the store was filled stands nowhere; 0 would mean "no such key" to etcd.
        at = 0 if revision == ABSENT else (revision - self._offset) or -1
        return pb.Compare(result=0, target=2, key=key.encode(), mod_revision=at)


def _is_done(write: pb.RequestOp, current: Record | None) -> bool:
    """Whether what stands there is what a write would have left."""
    if write.HasField("request_delete_range"):
        return current is None
    return current is not None and current.value == write.request_put.value


def _end(prefix: str) -> bytes:
    """The first key behind all that begin with the prefix."""
    data = prefix.encode()
    return data[:-1] + bytes([data[-1] + 1])


def _exists(key: str) -> pb.Compare:
    return pb.Compare(result=1, target=2, key=key.encode(), mod_revision=0)


def _parts(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """As many records together as etcd takes in one transaction."""
    part: list[Record] = []
    size = 0
    for record in records:
        if part and (len(part) == _OPERATIONS or size + len(record.value) > _BYTES):
            yield part
            part, size = [], 0
        part.append(record)
        size += len(record.value) + len(record.key)
    if part:
        yield part


def _create(path: Path, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(line + "\n")


def _append(path: Path, records: Sequence[Record]) -> None:
    with path.open("a", encoding="ascii") as file:
        for record in records:
            line = [record.key, record.created, record.revision, record.value.decode("latin-1")]
            file.write(json.dumps(line) + "\n")
