"""Delayed calls over the injected clock: one task sleeps until the earliest; each key has at most one call pending."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Hashable

from tiphys.base.clock import Clock


class Timers:
    """Run `run()` under a supervisor. A key's earliest deadline wins; `cancel` forgets it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Hashable]] = []
        self._calls: dict[Hashable, tuple[float, Callable[[], None]]] = {}
        self._order = itertools.count()
        self._changed = asyncio.Event()

    def call_after(self, seconds: float, key: Hashable, call: Callable[[], None]) -> None:
        at = self._clock.monotonic() + seconds
        known = self._calls.get(key)
        if known is not None and known[0] <= at:
            return
        self._calls[key] = (at, call)
        heapq.heappush(self._heap, (at, next(self._order), key))
        if self._heap[0][2] == key:
            self._changed.set()

    def cancel(self, key: Hashable) -> None:
        self._calls.pop(key, None)

    async def run(self) -> None:
        while True:
            self._fire()
            self._changed.clear()
            if not self._heap:
                await self._changed.wait()
                continue
            await self._sleep_until(self._heap[0][0])

    def _fire(self) -> None:
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            at, _, key = heapq.heappop(self._heap)
            entry = self._calls.get(key)
            # A call that was cancelled or moved leaves its old place in the heap behind.
            if entry is not None and entry[0] == at:
                del self._calls[key]
                entry[1]()

    async def _sleep_until(self, at: float) -> None:
        sleep = asyncio.ensure_future(self._clock.sleep(max(0.0, at - self._clock.monotonic())))
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait((sleep, changed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            changed.cancel()
