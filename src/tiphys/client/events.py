"""The event recorder: what components tell users about an object, written in the background and counted, not repeated.

The same event again within ten minutes only raises the count of the first. One object may be told of 25 times at once
and then every five minutes (upstream's figures), so that a thousand replicas do not make a thousand events. The queue
is bounded: when the server is away for long, the oldest events are dropped and counted, for they must never hold up
the work that they tell of.
Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tiphys.api.errors import ApiError, NotFound
from tiphys.api.meta import Object, ObjectMeta
from tiphys.api.resource import Json, ResourceType
from tiphys.api.time import rfc3339
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.base.metrics import Counter
from tiphys.client.client import Client
from tiphys.client.transport import Unreachable

_log = Log("events")
_QUEUE = 10_000
_REMEMBERED = 4096
_SAME_SECONDS = 600.0
_MAX_MESSAGE = 1024
_BURST, _REFILL_SECONDS = 25.0, 300.0
_DROPPED = Counter("tiphys_events_dropped_total", "Events thrown away because the API server was away for too long.")
# This floor knows no kinds; the recorder needs of events no more than their path.
_EVENTS = ResourceType(group="", version="v1", kind="Event", plural="events", model=Object)


_SUPPRESSED = Counter("tiphys_events_suppressed_total", "Events not told because their object had so many already.")


@dataclass(slots=True)
class _Allowance:
    left: float
    at: float


@dataclass(slots=True)
class _Known:
    meta: ObjectMeta
    count: int
    seen: float


class EventRecorder:
    """`record` never waits; `run` does the writing, under a supervisor."""

    def __init__(self, client: Client, component: str, clock: Clock, *, host: str = "") -> None:
        self._events = client.of(_EVENTS)
        self._component, self._clock, self._host = component, clock, host
        # Two events of one moment need two names.
        self._order = itertools.count()
        self._queue: deque[tuple[Json, str, str, str, float]] = deque(maxlen=_QUEUE)
        self._woken = asyncio.Event()
        self._allowances: OrderedDict[str, _Allowance] = OrderedDict()
        self._known: OrderedDict[tuple[str, str, str, str], _Known] = OrderedDict()

    def record(self, about: Mapping[str, Any], reason: str, message: str, *, warning: bool = False) -> None:
        """`about` is an ObjectReference as a dict: apiVersion, kind, name, namespace, uid and perhaps fieldPath."""
        if not self._allowed(str(about.get("uid") or about["name"])):
            _SUPPRESSED.inc()
            return
        if len(self._queue) == _QUEUE:
            _DROPPED.inc()
        kind = "Warning" if warning else "Normal"
        self._queue.append((dict(about), kind, reason, message[:_MAX_MESSAGE], self._clock.time()))
        self._woken.set()

    def _allowed(self, about: str) -> bool:
        """A token bucket for each object."""
        now = self._clock.monotonic()
        allowance = self._allowances.get(about)
        if allowance is None:
            allowance = self._allowances[about] = _Allowance(_BURST, now)
            if len(self._allowances) > _REMEMBERED:
                self._allowances.popitem(last=False)
        allowance.left = min(_BURST, allowance.left + (now - allowance.at) / _REFILL_SECONDS)
        allowance.at = now
        if allowance.left < 1:
            return False
        allowance.left -= 1
        return True

    async def run(self) -> None:
        while True:
            while self._queue:
                await self._write(*self._queue.popleft())
            self._woken.clear()
            await self._woken.wait()

    async def _write(self, about: Json, kind: str, reason: str, message: str, now: float) -> None:
        key = (str(about.get("uid") or about["name"]), str(about.get("fieldPath", "")), reason, message)
        known = self._known.get(key)
        try:
            if known is not None and now - known.seen < _SAME_SECONDS:
                known.count, known.seen = known.count + 1, now
                await self._events.patch(known.meta, {"count": known.count, "lastTimestamp": rfc3339(now)})
                return
            made = await self._events.create(self._event(about, kind, reason, message, now))
            self._remember(key, _Known(made.metadata, 1, now))
        except NotFound:
            # The event expired, or the namespace went; the next occurrence starts anew.
            self._known.pop(key, None)
        except (ApiError, Unreachable) as error:
            _log.debug("event not written", reason=reason, about=about.get("name"), error=str(error))

    def _remember(self, key: tuple[str, str, str, str], known: _Known) -> None:
        self._known[key] = known
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _event(self, about: Json, kind: str, reason: str, message: str, now: float) -> Json:
        source = {"component": self._component} | ({"host": self._host} if self._host else {})
        stamp = rfc3339(now)
        return {
            "metadata": {
                "name": f"{about['name']}.{int(now * 1e9) + next(self._order):x}",
                "namespace": about.get("namespace") or "default",
            },
            "involvedObject": about, "reason": reason, "message": message, "type": kind, "source": source,
            "firstTimestamp": stamp, "lastTimestamp": stamp, "count": 1, "eventTime": None,
            "reportingComponent": self._component, "reportingInstance": self._host,
        }  # fmt: skip


def reference(api_version: str, kind: str, meta: ObjectMeta, *, field_path: str = "") -> Json:
    """The ObjectReference of an object, for `record`."""
    about = {
        "apiVersion": api_version, "kind": kind, "name": meta.name, "namespace": meta.namespace, "uid": meta.uid,
        "resourceVersion": meta.resource_version,
    }  # fmt: skip
    return about | ({"fieldPath": field_path} if field_path else {})
