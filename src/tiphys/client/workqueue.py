"""The work queue of a controller: each key at most once in the queue and at most once in work.

Three collections, three rules (after client-go's workqueue): a key that is added while queued is already there; a key
added while in work, or in the rest after it, is queued again when `done`; a key added after a delay waits in `later`
and becomes an add.
"""

from __future__ import annotations

import asyncio
from collections import deque

from tiphys.base.backoff import Backoff
from tiphys.client.timers import Timers


class WorkQueue:
    def __init__(self, timers: Timers, backoff: Backoff | None = None) -> None:
        self._timers = timers
        self._backoff = backoff or Backoff(0.005, 60.0)
        self._queue: deque[str] = deque()
        self._queued: set[str] = set()
        self._working: set[str] = set()
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        self._wakers: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, key: str) -> None:
        if key in self._working:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._queue.append(key)
            self._wake()

    def add_after(self, key: str, seconds: float) -> None:
        """Add `key` once `seconds` have passed; the earliest of several delays counts."""
        # Queues share the timers, and one queue's keys are not another's.
        self._timers.call_after(seconds, (id(self), key), lambda: self.add(key))

    def retry(self, key: str) -> float:
        """Add `key` after its back-off, which grows with every call until `forget`; the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = self._backoff.delay(failures)
        self.add_after(key, delay)
        return delay

    def forget(self, key: str) -> None:
        self._failures.pop(key, None)

    async def get(self) -> str:
        """Take the next key; give it back with `done`."""
        while not self._queue:
            waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._wakers.append(waker)
            try:
                await waker
            except asyncio.CancelledError:
                if waker in self._wakers:
                    self._wakers.remove(waker)
                else:
                    self._wake()
                raise
        key = self._queue.popleft()
        self._queued.discard(key)
        self._working.add(key)
        return key

    def done(self, key: str, rest: float = 0.0) -> None:
        """Give a key back; if it was added meanwhile, or is within `rest` seconds, it is queued again after these."""
        if rest > 0:
            # Real time, whatever the clock: it is the event loop that rests.
            asyncio.get_running_loop().call_later(rest, self.done, key)
            return
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _wake(self) -> None:
        while self._wakers:
            waker = self._wakers.popleft()
            if not waker.done():
                waker.set_result(None)
                return
