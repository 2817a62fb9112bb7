"""What a server throws away by itself: history that nobody can ask for any more, and events that are an hour old.

Source: https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/ (--event-ttl)
"""

from __future__ import annotations

from tiphys import store
from tiphys.api.time import seconds
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.server.cache import Cache, Entry

_log = Log("upkeep")
_EVENTS = "/registry/core/events/"


class Upkeep:
    """Two loops for a supervisor: `compact` and `expire_events`. Times in seconds."""

    def __init__(self, cache: Cache, clock: Clock, *, history: float = 300.0, event_ttl: float = 3600.0) -> None:
        self._cache, self._clock = cache, clock
        self._history, self._event_ttl = history, event_ttl

    async def compact(self) -> None:
        """Keep the history of the last span, and of the one before it, whose lists may still be read page by page."""
        kept = self._cache.store.revision
        while True:
            await self._clock.sleep(self._history)
            now = self._cache.store.revision
            if now == kept:
                continue
            try:
                await self._cache.store.compact(kept)
            except store.Unavailable as error:
                _log.warning("history not compacted", error=error.reason)
            kept = now

    async def expire_events(self) -> None:
        """Delete each event once its time to live has passed since its last change; sleep until the next one's."""
        events = self._cache.of(_EVENTS)
        while True:
            now = self._clock.time()
            oldest = now
            for entry in list(events.items.values()):
                changed = _changed(entry)
                if changed + self._event_ttl <= now:
                    await self._delete(entry)
                else:
                    oldest = min(oldest, changed)
            await self._clock.sleep(max(1.0, oldest + self._event_ttl - now))

    async def _delete(self, entry: Entry) -> None:
        try:
            await self._cache.store.delete(entry.key, entry.revision)
        except (store.Conflict, store.Unavailable) as error:
            _log.debug("event not expired yet", key=entry.key, error=str(error))


def _changed(entry: Entry) -> float:
    obj = entry.decode()
    series = obj.get("series") or {}
    stamps = (series.get("lastObservedTime"), obj.get("lastTimestamp"), obj["metadata"].get("creationTimestamp"))
    return max((seconds(stamp) for stamp in stamps if stamp), default=0.0)
