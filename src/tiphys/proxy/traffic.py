"""What this node tells of the traffic to Services that may sleep: who waits, and when each was last used.

The kernel counts packets to the endpoints of such Services, long-lived connections included; the counters are looked at
every few seconds while there are any, and the node's annotation is written when it would tell something new.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping

from tiphys.api.errors import ApiError
from tiphys.api.meta import ObjectMeta
from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.client.client import Client
from tiphys.client.transport import Unreachable
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.sleep import TRAFFIC, Use, encode
from tiphys.node import nft
from tiphys.proxy.activator import Activator

_log = Log("traffic")
# How often the counters are looked at: four times while the Service that sleeps soonest may be unused. Seconds.
_LOOK, _LOOK_LEAST = 5.0, 0.5
_RETRY = Backoff(0.1, 10.0)


def counter_of(service: str) -> str:
    """The name of the kernel's counter of a Service, by its key."""
    return f"use-{hashlib.sha256(service.encode()).hexdigest()[:12]}"


class Traffic:
    """`sleepers` gives the keys of the Services that may sleep, with the seconds after which they do."""

    def __init__(
        self, client: Client, node: str, table: str, clock: Clock, activator: Activator,
        sleepers: Callable[[], Mapping[str, int]],
    ) -> None:  # fmt: skip
        self._client, self._node, self._table, self._clock = client.of(NODES), node, table, clock
        self._activator, self._sleepers = activator, sleepers
        self._woken = asyncio.Event()
        self._counts: dict[str, int] = {}
        self._last: dict[str, float] = {}
        self._told: dict[str, Use] = {}
        activator.changed = self.wake

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        failures = 0
        while True:
            sleepers = self._sleepers()
            if sleepers:
                await self._count(sleepers)
            uses = self._uses(sleepers)
            if self._is_news(uses, sleepers):
                try:
                    await self._client.patch(
                        ObjectMeta(name=self._node), {"metadata": {"annotations": {TRAFFIC: encode(uses) or None}}}
                    )
                    self._told, failures = uses, 0
                except (ApiError, Unreachable) as error:
                    _log.warning("cannot tell of the traffic to Services", error=str(error))
                    await self._clock.sleep(_RETRY.delay(failures))
                    failures += 1
                    continue
            soonest = min(sleepers.values(), default=0)
            await self._wait(min(max(soonest / 4, _LOOK_LEAST), _LOOK) if sleepers else None)

    async def _wait(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
        finally:
            self._woken.clear()

    async def _count(self, sleepers: Mapping[str, int]) -> None:
        """Take over what the kernel counted since the last look."""
        try:
            found = await nft.counters("ip", self._table)
        except nft.NftError as error:
            _log.warning("cannot read the kernel's counters", error=str(error))
            return
        now = self._clock.time()
        for service in sleepers:
            count = found.get(counter_of(service), 0)
            if count > self._counts.get(service, 0):
                self._last[service] = now
            self._counts[service] = count
        for name, used in self._activator.used().items():
            service = name.rpartition(":")[0]
            self._last[service] = max(self._last.get(service, 0.0), used)

    def _uses(self, sleepers: Mapping[str, int]) -> dict[str, Use]:
        waiting = {name.rpartition(":")[0] for name in self._activator.waiting()}
        return {key: Use(key in waiting, round(self._last.get(key, 0.0))) for key in sleepers}

    def _is_news(self, uses: Mapping[str, Use], sleepers: Mapping[str, int]) -> bool:
        """A later last use is told when a quarter of what it puts off has passed."""
        if uses.keys() != self._told.keys():
            return True
        return any(
            use.waiting != self._told[key].waiting or use.last - self._told[key].last >= max(sleepers[key] / 4, 1)
            for key, use in uses.items()
        )
