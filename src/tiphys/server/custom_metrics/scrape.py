"""Scrapes pods that carry the annotations `prometheus.io/scrape`, `port`, `path` and `scheme`, as everybody has them.

A pod is asked when somebody wants to know one of its metrics, once a second at most however many want to; of what it
says, the last two readings of the names that were wanted in the last minute are kept, for rates are made of two.
Source: https://github.com/prometheus-community/helm-charts/tree/main/charts/prometheus (the annotations)
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tiphys.api.resource import Json
from tiphys.base.clock import Clock
from tiphys.server.custom_metrics.exposition import Series, parse

_WINDOW, _KEPT = 1.0, 60.0
_AT_ONCE = 32
_PREFIX = "prometheus.io/"
# A URL -> what it says, or None where nothing does.
Fetch = Callable[[str], Awaitable[str | None]]
_Key = tuple[str, tuple[tuple[str, str], ...]]


def url_of(pod: Json) -> str:
    """Where a pod tells its metrics; empty for one that does not say that it does, or has no address yet."""
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    address = (pod.get("status") or {}).get("podIP") or ""
    if str(annotations.get(_PREFIX + "scrape")).lower() != "true" or not address:
        return ""
    ports = [port for each in pod["spec"].get("containers") or () for port in each.get("ports") or ()]
    port = annotations.get(_PREFIX + "port") or (ports[0]["containerPort"] if ports else 80)
    path = annotations.get(_PREFIX + "path") or "/metrics"
    host = f"[{address}]" if ":" in address else address
    return f"{annotations.get(_PREFIX + 'scheme') or 'http'}://{host}:{port}/{path.lstrip('/')}"


@dataclass(slots=True)
class _Reading:
    at: float
    names: frozenset[str]
    series: dict[_Key, Series]


@dataclass(slots=True)
class _Target:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: dict[str, float] = field(default_factory=dict)
    before: _Reading | None = None
    last: _Reading | None = None
    used: float = -math.inf


class Scraper:
    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        self._fetch, self._clock = fetch, clock
        self._targets: dict[str, _Target] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def of(self, urls: Sequence[str], names: Sequence[str]) -> Mapping[str, list[Series] | None]:
        """By URL the series of these names, counters as rates a second; None for one that does not answer."""
        now = self._clock.monotonic()
        for url in [url for url, each in self._targets.items() if _KEPT < now - each.used < math.inf]:
            del self._targets[url]
        found = await asyncio.gather(*(self._one(self._targets.setdefault(url, _Target()), url, names) for url in urls))
        return dict(zip(urls, found, strict=True))

    async def _one(self, target: _Target, url: str, names: Sequence[str]) -> list[Series] | None:
        async with target.lock, self._room:
            target.used = now = self._clock.monotonic()
            target.wanted = {name: at for name, at in target.wanted.items() if now - at < _KEPT}
            target.wanted.update(dict.fromkeys(names, now))
            last = target.last
            known = last is not None and last.names.issuperset(names)
            old = last is None or not known or now - last.at >= _WINDOW
            if old and not await self._read(target, url):
                return None
            if _rates_missing(target, names):
                await self._clock.sleep(_WINDOW)
                if not await self._read(target, url):
                    return None
            return _now(target, frozenset(names))

    async def _read(self, target: _Target, url: str) -> bool:
        text = await self._fetch(url)
        if text is None:
            return False
        names = frozenset(target.wanted)
        series = {_key(each): each for each in parse(text, names)}
        target.before, target.last = target.last, _Reading(self._clock.monotonic(), names, series)
        return True


def _key(series: Series) -> _Key:
    return series.name, tuple(sorted(series.labels.items()))


def _rates_missing(target: _Target, names: Sequence[str]) -> bool:
    """Whether there are counters of which the reading before, if it is young enough, knows nothing."""
    last, before = target.last, target.before
    if last is None or not any(each.counter and each.name in names for each in last.series.values()):
        return False
    return before is None or last.at - before.at > _KEPT or not before.names.issuperset(names)


def _now(target: _Target, names: frozenset[str]) -> list[Series]:
    last, before = target.last, target.before
    assert last is not None, "it has just been read"
    found = []
    for key, each in last.series.items():
        if each.name not in names:
            continue
        if not each.counter:
            found.append(each)
        elif before is not None and last.at > before.at:
            old = before.series.get(key)
            # What began anew, or was not there, has counted from zero.
            grown = each.value - old.value if old is not None and old.value <= each.value else each.value
            found.append(Series(each.name, each.labels, grown / (last.at - before.at), counter=True))
    return found
