"""In which order pods are tried: what the queue keeps the ready ones in."""

from __future__ import annotations

import heapq
from typing import Protocol

from tiphys.scheduler.gang import Entry


class Order(Protocol):
    """What is gone from the queue need not be taken out: the queue knows by the place whether an entry still counts."""

    def push(self, place: int, entry: Entry) -> None:
        """`place` numbers the entries as they come."""

    def pop(self) -> tuple[int, str] | None:
        """The place and the key of the next; None if there is none."""


class PrioritySort:
    """Highest priority first, then first come: upstream's default."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str]] = []

    def push(self, place: int, entry: Entry) -> None:
        heapq.heappush(self._heap, (-entry.priority, place, entry.key))

    def pop(self) -> tuple[int, str] | None:
        return heapq.heappop(self._heap)[1:] if self._heap else None
