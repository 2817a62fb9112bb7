"""Something of this machine that follows one object of the cluster."""

from __future__ import annotations

import asyncio
from typing import Any

from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.client.informer import Informer
from tiphys.main.cluster import ClusterError

_log = Log("certificates")
_BACKOFF = Backoff(1.0, 300.0)


class Follower:
    """`take` is called after every change of what the informer sees, and again, later, when it fails."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    async def take(self) -> None:
        """Bring this machine to what the object says. Raises ClusterError and OSError."""
        raise NotImplementedError

    async def follow(self, informer: Informer[Any], clock: Clock) -> None:
        informer.add_handler(self._seen)
        async with asyncio.TaskGroup() as group:
            group.create_task(informer.run())
            failures = 0
            while True:
                await self._changed.wait()
                self._changed.clear()
                try:
                    await self.take()
                    failures = 0
                except (ClusterError, OSError) as error:
                    _log.error("cannot follow the cluster's CA", error=error)
                    await clock.sleep(_BACKOFF.delay(failures))
                    failures += 1
                    self._changed.set()

    def _seen(self, old: object, new: object) -> None:
        self._changed.set()
