"""Fan-out of committed events to watchers: shared by the drivers that are the only writer of their state.

Invariants: `publish` runs on the loop, in revision order, before the writers of those events are answered; a watcher's
buffer is bounded, and one that overflows raises `Compacted` instead of leaving a gap. Watchers are indexed by prefix,
so a publication costs one dict look-up per distinct prefix length and not one test per watcher.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tiphys.store.protocol import Compacted, Event, Revision, StoreError

# Events that a watcher may lag behind; at some 2 KB an event, what one stuck watcher can hold on to is bounded.
CAPACITY = 16_384


class Watcher:
    """The bounded buffer of one watch, read by iterating: each batch is all that it holds, at least one event.

    No generator, so that a cancelled `anext` loses nothing and the iteration can go on.
    """

    __slots__ = ("_backlog", "_buffer", "_capacity", "_failure", "_waiter", "position", "prefix")

    def __init__(self, prefix: str, position: Revision, capacity: int) -> None:
        self.prefix = prefix
        self.position = position
        self._capacity = capacity
        self._backlog: Sequence[Event] = ()
        self._buffer: list[Event] = []
        self._failure: StoreError | None = None
        self._waiter: asyncio.Future[None] | None = None

    def offer(self, event: Event) -> bool:
        """Append; False when the watcher fell too far behind and is lost."""
        if len(self._buffer) >= self._capacity:
            self.fail(Compacted(self.position, event.revision))
            return False
        self._buffer.append(event)
        self._wake()
        return True

    def preload(self, backlog: Sequence[Event]) -> None:
        """Replayed events to deliver before any live one; they do not count against the capacity."""
        self._backlog = backlog

    def fail(self, error: StoreError) -> None:
        """What `next` raises from now on, at once: a buffer with a gap behind it is worth nothing."""
        self._buffer, self._failure = [], error
        self._wake()

    def __aiter__(self) -> Watcher:
        return self

    async def __anext__(self) -> Sequence[Event]:
        if self._backlog:
            backlog, self._backlog = self._backlog, ()
            return backlog
        while not self._buffer:
            if self._failure:
                raise self._failure
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        batch, self._buffer = self._buffer, []
        self.position = batch[-1].revision
        return batch

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


class Fanout:
    """The watchers of one store."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._by_prefix: dict[str, list[Watcher]] = {}
        self._lengths: tuple[int, ...] = ()

    def subscribe(self, prefix: str, position: Revision) -> Watcher:
        """A watcher that gets every event under `prefix` published from now on."""
        watcher = Watcher(prefix, position, self._capacity)
        self._by_prefix.setdefault(prefix, []).append(watcher)
        self._measure()
        return watcher

    def unsubscribe(self, watcher: Watcher) -> None:
        """Forget it; one already lost is no error."""
        watchers = self._by_prefix.get(watcher.prefix, [])
        if watcher in watchers:
            watchers.remove(watcher)
        if not watchers:
            self._by_prefix.pop(watcher.prefix, None)
            self._measure()

    def publish(self, events: Sequence[Event]) -> None:
        """Hand committed events, in revision order, to whom they concern."""
        lost: list[Watcher] = []
        by_prefix, lengths = self._by_prefix, self._lengths
        for event in events:
            for length in lengths:
                for watcher in by_prefix.get(event.key[:length], ()):
                    if not watcher.offer(event):
                        lost.append(watcher)
        for watcher in lost:
            self.unsubscribe(watcher)

    def close(self, error: StoreError) -> None:
        """Every watcher ends with `error`."""
        for watchers in self._by_prefix.values():
            for watcher in watchers:
                watcher.fail(error)
        self._by_prefix, self._lengths = {}, ()

    def _measure(self) -> None:
        self._lengths = tuple(sorted({len(prefix) for prefix in self._by_prefix}))
