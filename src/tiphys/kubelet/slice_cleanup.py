"""ResourceSlices of drivers that are gone from the node: nobody is to be sent to devices that nobody makes ready.

A driver that is started again has time for that. At the kubelet's start those go whose drivers do not come back.
Source: upstream's `pkg/kubelet/cm/dra/plugin`, which wipes them alike
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tiphys.api.errors import ApiError
from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.client.client import Client
from tiphys.client.transport import Unreachable
from tiphys.kinds.resource.resourceslice import RESOURCE_SLICES

_log = Log("plugins")
# Upstream's.
_GRACE_SECONDS = 30.0
_RETRY = Backoff(initial=1.0, maximum=60.0)


class SliceCleanup:
    """`is_here` tells whether a driver is registered."""

    def __init__(self, client: Client, node: str, is_here: Callable[[str], bool], clock: Clock) -> None:
        self._client, self._node = client.of(RESOURCE_SLICES), node
        self._is_here, self._clock = is_here, clock
        self._gone = asyncio.Event()

    def gone(self) -> None:
        """A driver went."""
        self._gone.set()

    async def run(self) -> None:
        while True:
            await self._clock.sleep(_GRACE_SECONDS)
            self._gone.clear()
            await self._clean()
            await self._gone.wait()

    async def _clean(self) -> None:
        failures = 0
        while True:
            try:
                slices, _ = await self._client.list(fieldSelector=f"spec.nodeName={self._node}")
                for driver in {each.spec.driver for each in slices if not self._is_here(each.spec.driver)}:
                    _log.info("removing the ResourceSlices of a driver that is gone", driver=driver)
                    query = f"spec.nodeName={self._node},spec.driver={driver}"
                    await self._client.delete_collection(fieldSelector=query)
                return
            except (ApiError, Unreachable) as error:
                _log.warning("cannot remove ResourceSlices yet", error=str(error))
                await self._clock.sleep(_RETRY.delay(failures))
                failures += 1
