"""Priority levels: seats for requests that are worked on, and fair queues for those that have to wait.

A level always has its own seats but for those it lends; what others do not use of theirs may be lent to it. Flows
share a level by queues: each flow is dealt a hand of them and joins the shortest, so that one that floods its queues
leaves the rest to others; queues take turns by the seats they had (start-time fair queuing).
Source: https://kubernetes.io/docs/concepts/cluster-administration/flow-control/ and KEP-1040
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from tiphys.api.resource import Json


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one level, in seats. Without `queues`, what finds no seat is refused; `exempt` from all of it."""

    name: str
    uid: str
    exempt: bool = False
    shares: int = 0
    lendable_percent: int = 0
    borrowing_percent: int | None = None
    queues: int = 0
    hand: int = 0
    length: int = 0


def limits_of(obj: Json) -> Limits:
    spec, meta = obj["spec"], obj["metadata"]
    if spec["type"] == "Exempt":
        return Limits(meta["name"], meta["uid"], exempt=True)
    limited = spec.get("limited") or {}
    queuing = (limited.get("limitResponse") or {}).get("queuing") or {}
    return Limits(
        meta["name"], meta["uid"], False, limited.get("nominalConcurrencyShares", 30),
        limited.get("lendablePercent") or 0, limited.get("borrowingLimitPercent"),
        queuing.get("queues", 0), queuing.get("handSize", 0), queuing.get("queueLengthLimit", 0),
    )  # fmt: skip


@dataclass(slots=True)
class Waiter:
    seats: int
    turn: asyncio.Future[None]


@dataclass(slots=True)
class Queue:
    """`start` is the virtual time at which its first request is due."""

    waiters: deque[Waiter] = field(default_factory=deque)
    start: float = 0.0


class Level:
    """Seats and queues of one priority level; `house` has the others."""

    def __init__(self, limits: Limits, house: House) -> None:
        self.limits, self._house = limits, house
        self.nominal = self.lendable = 0
        self.used = self.waiting = 0
        self._now = 0.0
        self._queues: dict[int, Queue] = {}

    def has_room(self, seats: int) -> bool:
        """Whether a request of so many seats may begin; when nothing else runs here, any may."""
        if not self.used or self.used + seats <= self.nominal - self.lendable:
            return True
        percent = self.limits.borrowing_percent
        most = math.inf if percent is None else self.nominal * (100 + percent) / 100
        return self.used + seats <= max(self.nominal, most) and self._house.spare(self) >= seats

    def queue_of(self, flow: str) -> Queue | None:
        """Where the flow is to wait; None if there it is full, or nowhere."""
        limits = self.limits
        if not limits.queues:
            return None
        hand = deal(flow, limits.queues, limits.hand)
        index = min(hand, key=lambda each: len(self._queues[each].waiters) if each in self._queues else 0)
        queue = self._queues.get(index)
        if queue is None:
            queue = self._queues[index] = Queue()
        if len(queue.waiters) >= limits.length:
            return None
        if not queue.waiters:
            queue.start = max(queue.start, self._now)
        return queue

    def wait(self, queue: Queue, seats: int) -> Waiter:
        waiter = Waiter(seats, asyncio.get_running_loop().create_future())
        queue.waiters.append(waiter)
        self.waiting += 1
        return waiter

    def leave(self, queue: Queue, waiter: Waiter) -> None:
        """It does not wait any longer."""
        if waiter in queue.waiters:
            queue.waiters.remove(waiter)
            self.waiting -= 1

    def dispatch(self) -> None:
        """Let those begin for whom there is room, the queues taking turns."""
        while self.waiting:
            index = min((i for i, queue in self._queues.items() if queue.waiters), key=lambda i: self._queues[i].start)
            queue = self._queues[index]
            waiter = queue.waiters[0]
            if not self.has_room(waiter.seats):
                return
            queue.waiters.popleft()
            self.waiting -= 1
            self._now = queue.start
            queue.start += waiter.seats
            if not waiter.turn.done():
                self.used += waiter.seats
                waiter.turn.set_result(None)
        self._queues.clear()
        self._now = 0.0


class House:
    """All levels, and how many seats there are in all."""

    def __init__(self, seats: int) -> None:
        self.seats = seats
        self.levels: dict[str, Level] = {}

    def configure(self, wanted: Sequence[Limits]) -> None:
        """Have these levels; those that stay keep what runs and waits, those that go let everybody in who waits."""
        shares = sum(limits.shares for limits in wanted) or 1
        levels = {}
        for limits in wanted:
            level = self.levels.pop(limits.name, None) or Level(limits, self)
            level.limits = limits
            level.nominal = math.ceil(self.seats * limits.shares / shares)
            level.lendable = round(level.nominal * limits.lendable_percent / 100)
            levels[limits.name] = level
        for gone in self.levels.values():
            gone.nominal, gone.lendable = 1 << 30, 0
            gone.dispatch()
        self.levels = levels

    def spare(self, level: Level) -> int:
        """Seats that are free and need not be kept for another level."""
        others = [each for each in self.levels.values() if each is not level and not each.limits.exempt]
        kept = sum(max(each.used, each.nominal - each.lendable) for each in others)
        return max(self.seats, level.nominal) - level.used - kept


def deal(flow: str, queues: int, hand: int) -> list[int]:
    """A hand of different queues for a flow, by its name (shuffle sharding)."""
    value = int.from_bytes(hashlib.blake2b(flow.encode(), digest_size=16).digest(), "big")
    dealt: list[int] = []
    for left in range(queues, queues - hand, -1):
        value, card = divmod(value, left)
        # The card's place among those that were not dealt yet.
        for taken in sorted(dealt):
            card += card >= taken
        dealt.append(card)
    return dealt
