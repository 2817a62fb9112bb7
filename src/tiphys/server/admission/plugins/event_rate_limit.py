"""EventRateLimit: no more events than the server, a namespace, a user or a source may send. Off by default.

Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#eventratelimit
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from tiphys.api import errors
from tiphys.base.clock import Clock
from tiphys.server.admission.chain import Attributes, Plugin


@dataclass(frozen=True, slots=True)
class EventLimit:
    """`type` is Server, Namespace, User or SourceAndObject; `qps` events a second, after a `burst`."""

    type: str
    qps: float
    burst: int
    cache_size: int = 4096


class EventRateLimit(Plugin):
    operations = ("CREATE", "UPDATE")
    resources = (("", "events"),)

    def __init__(self, limits: Sequence[EventLimit], clock: Clock) -> None:
        self._limits, self._clock = limits, clock
        # By limit and key: what is left, and when it was so.
        self._buckets: list[OrderedDict[str, tuple[float, float]]] = [OrderedDict() for _ in limits]

    async def validate(self, attributes: Attributes) -> None:
        if attributes.operation not in ("CREATE", "UPDATE") or not attributes.is_for("", "events"):
            return
        for limit, buckets in zip(self._limits, self._buckets, strict=True):
            key = _key(limit.type, attributes)
            if not self._take(limit, buckets, key):
                raise errors.TooManyRequests(
                    f"limit reached on type {limit.type} for key {key}", details={"retryAfterSeconds": 1}
                )

    def _take(self, limit: EventLimit, buckets: OrderedDict[str, tuple[float, float]], key: str) -> bool:
        now = self._clock.monotonic()
        left, since = buckets.pop(key, (float(limit.burst), now))
        left = min(left + (now - since) * limit.qps, limit.burst)
        enough = left >= 1
        buckets[key] = (left - 1 if enough else left), now
        while len(buckets) > limit.cache_size:
            buckets.popitem(last=False)
        return enough


def _key(kind: str, attributes: Attributes) -> str:
    if kind == "Namespace":
        return attributes.namespace
    if kind == "User":
        return attributes.user.name
    if kind == "Server":
        return ""
    obj = attributes.obj or {}
    source, about = obj.get("source") or {}, obj.get("involvedObject") or {}
    fields = ("kind", "namespace", "name", "uid", "apiVersion")
    return "".join([source.get("component", ""), source.get("host", ""), *(str(about.get(f, "")) for f in fields)])
