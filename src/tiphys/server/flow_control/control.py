"""Flow control of the requests that come from outside: classify, wait for seats, work, give them back.

Seats are given back at the next turn of the event loop, not at once: of requests that arrive together and need nothing
but the processor, only as many as there are seats go before those of another level that arrive meanwhile. Watches have
seats until they begin; commands, logs and proxies none.
Source: https://kubernetes.io/docs/concepts/cluster-administration/flow-control/
"""

from __future__ import annotations

import asyncio
from collections import Counter as Count
from dataclasses import dataclass

from tiphys.api.errors import TooManyRequests
from tiphys.api.http import User
from tiphys.base.clock import Clock
from tiphys.base.metrics import Counter, Gauge, Histogram
from tiphys.server.cache import Cache
from tiphys.server.flow_control.levels import House, Level, limits_of
from tiphys.server.flow_control.schemas import Schema, in_order, schema_of
from tiphys.server.route import Target

_PREFIX = "/registry/flowcontrol.apiserver.k8s.io/"
# Upstream's --max-requests-inflight and --max-mutating-requests-inflight together; a quarter of its request timeout.
SEATS, _PATIENCE = 600, 15.0
_OBJECTS_A_SEAT, _WIDEST = 100, 10
_LONG = frozenset(("exec", "attach", "portforward", "proxy", "log"))
_CACHED = 8192
_WHICH = ("priority_level", "flow_schema")
_NOMINAL = Gauge(
    "apiserver_flowcontrol_nominal_limit_seats", "Seats of a priority level, by its shares.", ("priority_level",)
)
_EXECUTING = Gauge(
    "apiserver_flowcontrol_current_executing_seats", "Seats that are taken now.", ("priority_level",)
)  # fmt: skip
_WAITING = Gauge(
    "apiserver_flowcontrol_current_inqueue_requests", "Requests that wait for a seat now.", ("priority_level",)
)
_DISPATCHED = Counter("apiserver_flowcontrol_dispatched_requests_total", "Requests that were let in.", _WHICH)
_REJECTED = Counter(
    "apiserver_flowcontrol_rejected_requests_total", "Requests that were turned away.", (*_WHICH, "reason")
)
_WAITED = Histogram(
    "apiserver_flowcontrol_request_wait_duration_seconds", "For how long requests waited for a seat.",
    (*_WHICH, "execute"), buckets=(0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Class:
    """What a request is: its schema, its level, its flow, and the headers that tell so."""

    schema: Schema
    level: Level
    flow: str
    headers: dict[str, str]


class FlowControl:
    """`classify` a request, `enter` before it is worked on, `leave` afterwards."""

    def __init__(self, cache: Cache, clock: Clock, seats: int = SEATS) -> None:
        self._cache, self._clock = cache, clock
        self._schemas = cache.of(f"{_PREFIX}flowschemas/")
        self._levels = cache.of(f"{_PREFIX}prioritylevelconfigurations/")
        self._house = House(seats)
        self._order: list[Schema] = []
        self._classes: dict[tuple[object, ...], Class | None] = {}
        self._seen = (-1, -1)
        self._given_back: Count[Level] = Count()

    def classify(self, user: User, target: Target) -> Class | None:
        """None as long as nothing is configured."""
        seen = (self._schemas.changed, self._levels.changed)
        if seen != self._seen:
            self._configure()
            self._seen = seen
        path = "" if target.is_resource else target.path
        key = (
            user.name, tuple(user.groups), target.verb, target.group, target.resource, target.subresource,
            target.namespace, path,
        )  # fmt: skip
        if key in self._classes:
            return self._classes[key]
        if len(self._classes) >= _CACHED:
            self._classes.clear()
        found = self._classes[key] = self._class(user, target)
        return found

    async def enter(self, found: Class, seats: int) -> int:
        """The seats that the request takes, once it has them. Raises TooManyRequests."""
        level, which = found.level, (found.level.limits.name, found.schema.name)
        if level.limits.exempt or not seats:
            _DISPATCHED.inc(*which)
            return 0
        if not level.waiting and level.has_room(seats):
            level.used += seats
        else:
            await self._queued(found, seats)
        _DISPATCHED.inc(*which)
        return seats

    def leave(self, found: Class, seats: int) -> None:
        if not seats:
            return
        if not self._given_back:
            asyncio.get_running_loop().call_soon(self._turn)
        self._given_back[found.level] += seats

    def width(self, target: Target, prefix: str, limit: str) -> int:
        """How many seats a request takes: a list as many as it is long, in hundreds."""
        if target.subresource in _LONG:
            return 0
        if target.verb != "list" or not prefix:
            return 1
        count = len(self._cache.of(prefix).items)
        if limit.isdecimal() and int(limit):
            count = min(count, int(limit))
        return min(_WIDEST, max(1, -(-count // _OBJECTS_A_SEAT)))

    def measure(self) -> None:
        """Set the gauges, for a scrape."""
        for name, level in self._house.levels.items():
            _NOMINAL.set(level.nominal, name)
            _EXECUTING.set(level.used, name)
            _WAITING.set(level.waiting, name)

    async def _queued(self, found: Class, seats: int) -> None:
        level, which = found.level, (found.level.limits.name, found.schema.name)
        queue = level.queue_of(f"{found.schema.name}\0{found.flow}")
        if queue is None:
            raise _refused(which, "queue-full" if level.limits.queues else "concurrency-limit")
        began, has = self._clock.monotonic(), False
        waiter = level.wait(queue, seats)
        # There may be room for this one that those before it cannot use.
        level.dispatch()
        try:
            async with asyncio.timeout(_PATIENCE):
                await waiter.turn
            has = True
        except TimeoutError:
            raise _refused(which, "time-out") from None
        finally:
            if not has:
                level.leave(queue, waiter)
                if waiter.turn.done() and not waiter.turn.cancelled():
                    self.leave(found, seats)
            _WAITED.observe(self._clock.monotonic() - began, *which, str(has).lower())

    def _turn(self) -> None:
        given, self._given_back = self._given_back, Count()
        for level, seats in given.items():
            level.used -= seats
        for level in {*given, *self._house.levels.values()}:
            level.dispatch()

    def _configure(self) -> None:
        self._classes.clear()
        self._house.configure([limits_of(entry.decode()) for entry in self._levels.items.values()])
        schemas = (schema_of(entry.decode()) for entry in self._schemas.items.values())
        self._order = in_order(schema for schema in schemas if schema.level in self._house.levels)
        for level in self._house.levels.values():
            level.dispatch()

    def _class(self, user: User, target: Target) -> Class | None:
        for schema in self._order:
            if schema.matches(user, target):
                level = self._house.levels[schema.level]
                headers = {
                    "X-Kubernetes-PF-FlowSchema-UID": schema.uid,
                    "X-Kubernetes-PF-PriorityLevel-UID": level.limits.uid,
                }
                return Class(schema, level, schema.flow(user, target), headers)
        return None


def _refused(which: tuple[str, str], reason: str) -> TooManyRequests:
    _REJECTED.inc(*which, reason)
    return TooManyRequests("Too many requests, please try again later.", details={"retryAfterSeconds": 1})
