"""The one writer of a SQLite store: a thread that commits in groups.

It takes everything queued (up to a bound), writes it in one transaction, and after the fsync answers all of it on the
loop in one call: however many writers wait, each commit costs one fsync and one wake-up. Compaction runs here too, in
small steps between commits, so that it never holds writers up for long.
Invariants: revisions follow commit order; a batch is acknowledged wholly or fails wholly; after a failure the file is
as it was before the batch, and the next batch is tried afresh.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiphys.store import sqlite_file
from tiphys.store.protocol import Event, Record, Revision, StoreError, Unavailable
from tiphys.store.sqlite_batch import Batch, Standing

# Writes in one transaction; more adds latency for the first of them and saves nothing measurable.
BATCH = 512
# Revisions swept between two commits: some milliseconds of work.
STEP = 500

_INSERT = "INSERT INTO log (revision, key, created, previous, value) VALUES (?, ?, ?, ?, ?)"
_MARK_FILLED = "UPDATE meta SET compacted = ?1, swept = ?1"
_SWEEP_REPLACED = """
DELETE FROM log WHERE revision IN (
  SELECT previous FROM log WHERE revision > :low AND revision <= :high AND previous > 0)
"""
# A deletion that is the last revision of all stays: the store's revision is read from it.
_SWEEP_DELETIONS = "DELETE FROM log WHERE value IS NULL AND revision >= :low AND revision < :high"


@dataclass(slots=True, eq=False)
class Write:
    """A put, or with `value` None a delete; `done` gets its revision."""

    key: str
    value: bytes | None
    expect: Revision
    done: asyncio.Future[Revision]


@dataclass(slots=True, eq=False)
class Compaction:
    revision: Revision
    done: asyncio.Future[None]


@dataclass(slots=True, eq=False)
class Load:
    """A batch for a store that is being filled: its records take the revisions after `after`; `done` gets the last.

    The `last` batch makes the revision reached the first one that can be asked for.
    """

    after: Revision
    records: Sequence[Record]
    last: bool = False
    done: asyncio.Future[Revision] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


Answer = tuple[asyncio.Future[Any], Revision | StoreError]
Acknowledge = Callable[[Sequence[Event], Sequence[Answer]], None]


class Writer:
    """Owns the writing connection. `acknowledge(events, answers)` is called on the loop, once per commit."""

    def __init__(self, path: Path, connection: sqlite3.Connection, acknowledge: Acknowledge) -> None:
        self._path = path
        self._connection = connection
        self._acknowledge = acknowledge
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Write | Load | Compaction | None] = queue.SimpleQueue()
        self._revision, self._target = sqlite_file.revisions(connection)
        (self._swept,) = connection.execute("SELECT swept FROM meta").fetchone()
        self._compactions: list[Compaction] = []
        self._standing = Standing()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, work: Write | Load | Compaction) -> None:
        """Raises Unavailable when the thread has ended."""
        if self._stopped:
            raise Unavailable("the store's writer has ended: restart the server")
        self._queue.put(work)

    async def stop(self) -> None:
        """Finish what is queued, then end."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._end()

    def _work(self) -> None:
        running = True
        while running:
            work = self._take()
            running = None not in work
            writes = [item for item in work if isinstance(item, Write)]
            if writes:
                self._commit(writes)
            for item in work:
                if isinstance(item, Compaction):
                    self._begin(item)
                elif isinstance(item, Load):
                    self._load(item)
            if self._swept < self._target and running:
                self._sweep()

    def _end(self) -> None:
        """Whatever ended the thread: nobody may wait for it."""
        self._stopped = True
        self._connection.close()
        failure = Unavailable("the store is closed")
        self._give_up(failure)
        while True:
            try:
                work = self._queue.get_nowait()
            except queue.Empty:
                return
            if work is not None:
                self._answer([], [(work.done, failure)])

    def _take(self) -> list[Write | Load | Compaction | None]:
        """What is queued; waits for something unless a compaction is under way."""
        work: list[Write | Load | Compaction | None] = []
        if self._swept >= self._target:
            work.append(self._queue.get())
        while len(work) < BATCH:
            try:
                work.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return work

    def _commit(self, writes: Sequence[Write]) -> None:
        try:
            standing = self._standing.of(self._connection, (write.key for write in writes))
            batch = Batch(standing, self._revision)
            answers: list[Answer] = [
                (write.done, batch.apply(write.key, write.value, write.expect)) for write in writes
            ]  # fmt: skip
            self._connection.execute("BEGIN IMMEDIATE")
            batch.save(self._connection)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            self._standing.forget()
            failure = sqlite_file.unavailable(self._path, error)
            self._answer([], [(write.done, failure) for write in writes])
            return
        self._revision = batch.revision
        self._standing.take(batch.outcome)
        self._answer(batch.events, answers)

    def _load(self, load: Load) -> None:
        rows = [(load.after + n, record.key, record.value) for n, record in enumerate(load.records, 1)]
        reached = load.after + len(rows)
        self._standing.forget()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT INTO log VALUES (?1, ?2, ?1, 0, ?3)", rows)
            self._connection.executemany(
                "INSERT INTO current (revision, key) VALUES (?1, ?2)", (row[:2] for row in rows)
            )
            if load.last:
                # A removal of nothing: where no record was loaded, the revision has to stand somewhere.
                reached += 1
                self._connection.execute(_INSERT, (reached, "", reached, 0, None))
                self._connection.execute(_MARK_FILLED, (reached,))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            self._answer([], [(load.done, sqlite_file.unavailable(self._path, error))])
            return
        self._revision = reached
        if load.last:
            self._target = self._swept = reached
        self._answer([], [(load.done, reached)])

    def _begin(self, compaction: Compaction) -> None:
        try:
            self._connection.execute("UPDATE meta SET compacted = max(compacted, ?)", (compaction.revision,))
        except sqlite3.Error as error:
            self._answer([], [(compaction.done, sqlite_file.unavailable(self._path, error))])
            return
        self._target = max(self._target, compaction.revision)
        if self._swept >= compaction.revision:
            self._answer([], [(compaction.done, compaction.revision)])
        else:
            self._compactions.append(compaction)

    def _sweep(self) -> None:
        """Forget one step of history: what a revision in it replaced, and the deletions in it."""
        step = {"low": self._swept, "high": min(self._swept + STEP, self._target)}
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(_SWEEP_REPLACED, step)
            self._connection.execute(_SWEEP_DELETIONS, step)
            self._connection.execute("UPDATE meta SET swept = :high", step)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            self._give_up(sqlite_file.unavailable(self._path, error))
            return
        self._swept = step["high"]
        done = [item for item in self._compactions if item.revision <= self._swept]
        self._compactions = [item for item in self._compactions if item.revision > self._swept]
        if done:
            self._answer([], [(item.done, item.revision) for item in done])

    def _give_up(self, failure: StoreError) -> None:
        """Leave the rest of the sweep to the next compaction, so that a full disk is not tried again and again."""
        self._target = self._swept
        if self._compactions:
            self._answer([], [(item.done, failure) for item in self._compactions])
            self._compactions = []

    def _roll_back(self) -> None:
        # After a full disk or an I/O error SQLite has mostly rolled back by itself.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _answer(self, events: Sequence[Event], answers: Sequence[Answer]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._acknowledge, events, answers)
        except RuntimeError:
            # The loop was closed without `stop`: nobody is left to answer, and what is committed stays so.
            self._queue.put(None)
