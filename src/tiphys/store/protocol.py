"""The Store: keys, bytes and revisions behind eight verbs, refused any further generality.

One revision counter orders every write of the whole store; each successful `put` or `delete` takes the next one.
A write is acknowledged only once it is durable, and a watcher sees it no later than its writer does. History is kept
until `compact`; asking below the compacted revision raises `Compacted`. Drivers: `memory`, `sqlite`, `etcd`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Revision = int


@dataclass(frozen=True, slots=True)
class Record:
    """One key as of `revision`, its last change; `created` is the revision of the write that made it."""

    key: str
    value: bytes
    revision: Revision
    created: Revision


@dataclass(frozen=True, slots=True)
class Event:
    """One committed change. `value` is None for a deletion; `previous` is what stood there before, if anything did."""

    key: str
    revision: Revision
    value: bytes | None
    previous: Record | None

    @property
    def created(self) -> bool:
        return self.value is not None and self.previous is None


@dataclass(frozen=True, slots=True)
class Page:
    """Records in key order as of `revision`; `more` tells whether keys follow, `remaining` how many."""

    records: Sequence[Record]
    revision: Revision
    more: bool = False
    remaining: int = 0


class StoreError(Exception):
    """The store could not do it and nothing was written."""


class Conflict(StoreError):
    """`expect` did not hold. `current` is what stands there now (None: no such key)."""

    def __init__(self, key: str, current: Record | None) -> None:
        super().__init__(f"{key}: expectation failed")
        self.key, self.current = key, current


class Compacted(StoreError):
    """The revision asked for is no longer kept; `oldest` is the first that still is."""

    def __init__(self, revision: Revision, oldest: Revision) -> None:
        super().__init__(f"revision {revision} is compacted; the oldest kept is {oldest}")
        self.revision, self.oldest = revision, oldest


class FutureRevision(StoreError):
    """The revision asked for has not been written yet."""

    def __init__(self, revision: Revision, current: Revision) -> None:
        super().__init__(f"revision {revision} is ahead of the store, which is at {current}")
        self.revision, self.current = revision, current


class Unavailable(StoreError):
    """The store cannot serve now (disk full, quorum lost, closed); `reason` says which."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


# `expect` of a write: the revision that must stand there now; ABSENT: no such key; ANY: whatever stands there.
ABSENT: Revision = 0
ANY: Revision = -1


def not_empty(what: str) -> StoreError:
    """Of `fill`: `what` names the store."""
    return StoreError(f"{what} is not empty, and only an empty store can be filled: give it another place")


class Store(Protocol):
    @property
    def revision(self) -> Revision:
        """The last committed revision that this store knows of."""

    async def current(self) -> Revision:
        """The last revision committed before the call, by anybody: its events are with all watchers by now."""

    async def get(self, key: str) -> Record | None: ...

    async def list(self, prefix: str, *, after: str = "", limit: int = 0, revision: Revision = 0) -> Page:
        """Keys under `prefix` above the whole key `after`, at most `limit` (0: all), as of `revision` (0: now)."""

    async def put(self, key: str, value: bytes, expect: Revision = ANY) -> Revision:
        """Write, durably; the new revision. Raises Conflict, Unavailable."""

    async def delete(self, key: str, expect: Revision = ANY) -> Revision:
        """Remove, durably; the revision of the removal. A missing key is a Conflict with `current` None."""

    def watch(self, prefix: str, *, after: Revision) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Event]]]:
        """Every change under `prefix` with a revision above `after`, in order, in batches as they commit.

        Entering raises Compacted or FutureRevision; a watcher that falls too far behind gets Compacted while iterating.
        """

    async def compact(self, revision: Revision) -> None:
        """Forget history below `revision`; what is current stays."""

    async def snapshot(self, path: Path) -> Revision:
        """Write a consistent copy to the new file `path` while serving; the revision that it holds."""

    async def fill(self, records: AsyncIterable[Sequence[Record]], revision: Revision) -> Revision:
        """Load an empty store before anybody uses it; every revision handed out from then on is above `revision`.

        The records get revisions of their own, and nothing before them can be asked for: whoever remembers an older
        revision is told Compacted. The last revision of the filled store. Raises StoreError for a store that is not
        empty or already beyond `revision`; one whose filling failed is to be thrown away.
        """

    async def close(self) -> None: ...
