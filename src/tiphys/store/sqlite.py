"""The embedded store: one SQLite file (WAL, synchronous=FULL), for clusters with one control plane.

Writes go to one thread that commits in groups (`sqlite_writer`). `get` reads on the loop: the row is in a page cache
and costs a few microseconds, where a hop to a thread costs ten times that and a wake-up. Lists and replays may be long,
so they run on reader threads, each on a connection of its own; WAL lets them see one snapshot while writes go on.
Invariant: nothing that a caller was shown is ahead of what watchers were told (`_reached`).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self, TypeVar

from tiphys.store import sqlite_file
from tiphys.store.fanout import CAPACITY, Fanout, Watcher
from tiphys.store.protocol import (
    ANY,
    Compacted,
    Event,
    FutureRevision,
    Page,
    Record,
    Revision,
    StoreError,
    Unavailable,
    not_empty,
)
from tiphys.store.sqlite_writer import Answer, Compaction, Load, Write, Writer

# Writes that may wait for the disk before more are refused.
QUEUE = 8192
READERS = 2
# Events read at a time while a watcher catches up.
REPLAY = 1000

T = TypeVar("T")


class SqliteStore:
    """Implements `Store`. Made by `open`."""

    def __init__(self, path: Path, descriptor: int, watch_capacity: int) -> None:
        """Blocks: reads the file's head, and its write-ahead log after a crash."""
        self._path = path
        self._lock = descriptor
        connection = sqlite_file.prepare(path)
        self._revision, self._compacted = sqlite_file.revisions(connection)
        self._writer = Writer(path, connection, self._acknowledge)
        self._reader = sqlite_file.connect(path)
        self._idle_readers = [sqlite_file.connect(path) for _ in range(READERS)]
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._fanout = Fanout(watch_capacity)
        self._queued = 0
        self._behind: list[asyncio.Future[None]] = []
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, watch_capacity: int = CAPACITY) -> Self:
        """Open or create `path` for this process alone. Raises Unavailable when it is in use, damaged or foreign."""
        descriptor = sqlite_file.lock(path)
        try:
            store = cls(path, descriptor, watch_capacity)
        except sqlite3.Error as error:
            os.close(descriptor)
            raise sqlite_file.unavailable(path, error) from error
        except BaseException:
            os.close(descriptor)
            raise
        store._writer.start()
        return store

    @property
    def revision(self) -> Revision:
        return self._revision

    async def current(self) -> Revision:
        return self.revision

    async def get(self, key: str) -> Record | None:
        self._check_open()
        try:
            record = sqlite_file.get(self._reader, key)
        except sqlite3.Error as error:
            raise sqlite_file.unavailable(self._path, error) from error
        if record and record.revision > self._revision:
            await self._reached(record.revision)
        return record

    async def list(self, prefix: str, *, after: str = "", limit: int = 0, revision: Revision = 0) -> Page:
        self._check_not_future(revision)
        wanted = sqlite_file.Range(prefix, after, limit, revision)
        page = await self._read(lambda connection: sqlite_file.read(connection, wanted))
        await self._reached(page.revision)
        return page

    async def put(self, key: str, value: bytes, expect: Revision = ANY) -> Revision:
        return await self._write(key, value, expect)

    async def delete(self, key: str, expect: Revision = ANY) -> Revision:
        return await self._write(key, None, expect)

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: Revision) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        self._check_not_future(after)
        if after < self._compacted:
            raise Compacted(after, self._compacted)
        live = self._fanout.subscribe(prefix, self._revision)
        try:
            yield live if after == self._revision else _Replay(self, live, after)
        finally:
            self._fanout.unsubscribe(live)

    async def compact(self, revision: Revision) -> None:
        self._check_not_future(revision)
        if revision <= self._compacted:
            return
        self._compacted = revision
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queued += 1
        self._writer.submit(Compaction(revision, done))
        await done

    async def snapshot(self, path: Path) -> Revision:
        """A SQLite file that `open` takes. Raises FileExistsError when `path` exists."""
        self._check_open()
        return await asyncio.to_thread(sqlite_file.snapshot, self._path, path)

    async def fill(self, records: AsyncIterable[Sequence[Record]], revision: Revision) -> Revision:
        self._check_open()
        if self._revision > max(revision, 1) or (await self.list("/", limit=1)).records:
            raise not_empty(str(self._path))
        revision = max(revision, self._revision)
        async for batch in records:
            revision = await self._load(Load(revision, batch))
        # Also when there was nothing to load: it is a file's last row that tells its revision.
        self._revision = self._compacted = await self._load(Load(revision, (), last=True))
        return self._revision

    async def _load(self, load: Load) -> Revision:
        self._queued += 1
        self._writer.submit(load)
        return await load.done

    async def close(self) -> None:
        """Finish the writes already asked for; end every watch with Unavailable."""
        if self._closed:
            return
        self._closed = True
        await self._writer.stop()
        # The writer's last acknowledgement was handed to the loop before its thread ended.
        await asyncio.sleep(0)
        self._fanout.close(Unavailable("the store is closed"))
        await asyncio.to_thread(self._threads.shutdown)
        for connection in (self._reader, *self._idle_readers):
            connection.close()
        os.close(self._lock)

    async def replay(self, prefix: str, after: Revision, until: Revision) -> Sequence[Event]:
        """The next events of a watcher that catches up; fewer than REPLAY when there are no more up to `until`."""
        return await self._read(lambda connection: sqlite_file.replay(connection, prefix, after, until, REPLAY))

    async def _write(self, key: str, value: bytes | None, expect: Revision) -> Revision:
        self._check_open()
        if self._queued >= QUEUE:
            raise Unavailable(f"{QUEUE} writes wait for the disk under {self._path.parent}: retry later")
        # A key that cannot be stored fails here, alone, and not among others in the writer's batch.
        key.encode()
        done: asyncio.Future[Revision] = asyncio.get_running_loop().create_future()
        self._queued += 1
        self._writer.submit(Write(key, value, expect, done))
        return await done

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read_here, read)

    def _read_here(self, read: Callable[[sqlite3.Connection], T]) -> T:
        # As many connections as threads: one is always there.
        connection = self._idle_readers.pop()
        try:
            return read(connection)
        except sqlite3.Error as error:
            raise sqlite_file.unavailable(self._path, error) from error
        finally:
            self._idle_readers.append(connection)

    def _acknowledge(self, events: Sequence[Event], answers: Sequence[Answer]) -> None:
        if events:
            self._revision = events[-1].revision
            self._fanout.publish(events)
        self._queued -= len(answers)
        for done, answer in answers:
            if done.done():
                continue
            if isinstance(answer, StoreError):
                done.set_exception(answer)
            else:
                done.set_result(answer)
        behind, self._behind = self._behind, []
        for waiter in behind:
            if not waiter.done():
                waiter.set_result(None)

    async def _reached(self, revision: Revision) -> None:
        """Wait until watchers were told of `revision`: a reader may see a commit before the loop hears of it."""
        while self._revision < revision and not self._closed:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._behind.append(waiter)
            await waiter

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the store is closed")

    def _check_not_future(self, revision: Revision) -> None:
        self._check_open()
        if revision > self._revision:
            raise FutureRevision(revision, self._revision)


class _Replay:
    """A watch that starts in the past: history from the tables up to where `live` began, then `live`."""

    def __init__(self, store: SqliteStore, live: Watcher, after: Revision) -> None:
        self._store = store
        self._live = live
        self._position = after
        # Fixed here, in the same turn as the subscription: no gap, no duplicate.
        self._until = live.position

    def __aiter__(self) -> _Replay:
        return self

    async def __anext__(self) -> Sequence[Event]:
        if self._position < self._until:
            events = await self._store.replay(self._live.prefix, self._position, self._until)
            self._position = events[-1].revision if len(events) == REPLAY else self._until
            if events:
                return events
        return await anext(self._live)
