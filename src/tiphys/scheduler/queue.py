"""The scheduling queue: pods to try now, pods that back off, and pods that wait for something to change.

The pods of a gang are tried together, so a gang is queued as one.
Nothing is tried again without a reason: a refused pod waits until an event happens that one of the plugins that refused
it asked for (`retry_on`), and until its back-off is over, which began with the refusal and grows with their number.
After five minutes it is tried anyway.
Source: https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/#queueing-hint
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock
from tiphys.client.timers import Timers
from tiphys.scheduler.gang import Entry, Gang
from tiphys.scheduler.order import Order, PrioritySort
from tiphys.scheduler.plugin import Plugin, Subject

_BACKOFF = Backoff(initial=1.0, maximum=10.0)
_ANYWAY_SECONDS = 300.0


@dataclass(slots=True)
class Waiting:
    """What no node takes. `retry_on` are the events that may change that, `ready_at` the end of its back-off.

    `plugins` are those that refused it: one of them must think that what happened helps.
    """

    entry: Entry
    retry_on: frozenset[str]
    ready_at: float
    plugins: Sequence[Plugin] = ()

    def helped_by(self, event: str, subject: Subject) -> bool:
        if event not in self.retry_on:
            return False
        info = self.entry
        if subject is None or not self.plugins or isinstance(info, Gang):
            return True
        return any(event in each.retry_on and each.helps(info, event, subject) for each in self.plugins)


class SchedulingQueue:
    """The `order` is PrioritySort if none is given. Keys are "namespace/name" for pods."""

    def __init__(self, clock: Clock, timers: Timers, order: Order | None = None) -> None:
        self._clock, self._timers = clock, timers
        self._sorted = order or PrioritySort()
        # With the place in the order that counts: what was removed leaves its old one behind.
        self._ready: dict[str, tuple[int, Entry]] = {}
        self._waiting: dict[str, Waiting] = {}
        # The same by event: most events are nothing to most pods.
        self._hoping: dict[str, dict[str, Waiting]] = {}
        self._failures: dict[str, int] = {}
        self._order = itertools.count()
        self._woken = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready) + len(self._waiting)

    def add(self, entry: Entry) -> None:
        """Queue a pod, or take over the new state of one that is queued."""
        known = self._ready.get(entry.key)
        if known is not None:
            self._ready[entry.key] = (known[0], entry)
            return
        self._stop_waiting(entry.key)
        place = next(self._order)
        self._ready[entry.key] = (place, entry)
        self._sorted.push(place, entry)
        self._woken.set()

    def add_again(self, entry: Entry) -> None:
        """Queue what may be waiting; if it is, its back-off runs out first."""
        waiting = self._waiting.get(entry.key)
        if waiting is None:
            self.add(entry)
        else:
            self._later(entry.key, max(0.0, waiting.ready_at - self._clock.monotonic()))

    def remove(self, key: str) -> None:
        self._ready.pop(key, None)
        self._failures.pop(key, None)
        self._stop_waiting(key)

    def _stop_waiting(self, key: str) -> None:
        self._timers.cancel(key)
        waiting = self._waiting.pop(key, None)
        for event in waiting.retry_on if waiting is not None else ():
            self._hoping[event].pop(key, None)

    def waits(self, entry: Entry, retry_on: frozenset[str], plugins: Sequence[Plugin] = ()) -> None:
        """Set aside what no node takes, until one of the events happens and one of the plugins says it helps.

        For a gang, every such event does.
        """
        self._set_aside(entry, retry_on).plugins = plugins
        self._later(entry.key, _ANYWAY_SECONDS)

    def holds(self, entry: Entry, retry_on: frozenset[str], plugins: Sequence[Plugin]) -> None:
        """Set aside what is not to be tried yet: it has not failed, and goes on at once when it may."""
        self._keep(Waiting(entry, retry_on, self._clock.monotonic(), plugins))
        self._later(entry.key, _ANYWAY_SECONDS)

    def back_off(self, entry: Entry) -> None:
        """Try again in a while: the attempt failed for a reason that is not the pod's."""
        waiting = self._set_aside(entry, frozenset())
        self._later(entry.key, waiting.ready_at - self._clock.monotonic())

    def _set_aside(self, entry: Entry, retry_on: frozenset[str]) -> Waiting:
        failures = self._failures.get(entry.key, 0)
        self._failures[entry.key] = failures + 1
        return self._keep(Waiting(entry, retry_on, self._clock.monotonic() + _BACKOFF.delay(failures)))

    def _keep(self, waiting: Waiting) -> Waiting:
        key = waiting.entry.key
        self._ready.pop(key, None)
        self._stop_waiting(key)
        self._waiting[key] = waiting
        for event in waiting.retry_on:
            self._hoping.setdefault(event, {})[key] = waiting
        return waiting

    def activate(self, key: str) -> None:
        """Try a waiting pod now: what it waited for has been done for it."""
        self._again(key)

    def happened(self, event: str, subject: Subject = None) -> None:
        """Let the pods that wait for such an event be tried again, once their back-off is over.

        `subject` is the node or the pod to which it happened.
        """
        now = self._clock.monotonic()
        for key, waiting in self._hoping.get(event, {}).items():
            if waiting.helped_by(event, subject):
                self._later(key, max(0.0, waiting.ready_at - now))

    async def pop(self) -> Entry:
        while True:
            while (following := self._sorted.pop()) is not None:
                place, key = following
                known = self._ready.get(key)
                if known is not None and known[0] == place:
                    del self._ready[key]
                    return known[1]
            self._woken.clear()
            await self._woken.wait()

    def _later(self, key: str, seconds: float) -> None:
        self._timers.call_after(seconds, key, lambda: self._again(key))

    def _again(self, key: str) -> None:
        waiting = self._waiting.get(key)
        if waiting is not None:
            self.add(waiting.entry)
