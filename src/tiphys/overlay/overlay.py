"""The overlay's loop: when a Node comes, goes or moves, change what this node's VXLAN device knows.

A node alone has no device: it is made when the first other node appears. What the kernel has is read at the start and
after a refusal, so entries of nodes that went while nobody looked are removed, and an edit from outside heals itself.
"""

from __future__ import annotations

import asyncio

from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.client.informer import Informers
from tiphys.kinds.core.node import NODES, Node
from tiphys.node import iproute
from tiphys.node.record import Record
from tiphys.overlay import device, plan
from tiphys.overlay.plan import Setting, State

_log = Log("overlay")
_RETRY = Backoff(0.2, 30.0)


class Overlay:
    """`run` until cancelled. The record learns of the device before it is made."""

    def __init__(self, informers: Informers, setting: Setting, record: Record, clock: Clock) -> None:
        self._nodes = informers.of(NODES)
        self._setting, self._record, self._clock = setting, record, clock
        self._woken = asyncio.Event()
        # What the kernel has, and the range whose first address the device has; None until they are known.
        self._applied: State | None = None
        self._range = ""
        self._nodes.add_handler(self._changed)

    async def run(self) -> None:
        await self._nodes.synced.wait()
        failures = 0
        while True:
            self._woken.clear()
            try:
                await self._sync()
                failures = 0
            except OSError as error:
                _log.error("cannot reach the other nodes' pods yet", device=self._setting.device, error=error)
                self._applied = None
                await self._clock.sleep(_RETRY.delay(failures))
                failures += 1
                continue
            await self._woken.wait()

    async def _sync(self) -> None:
        wanted = plan.wanted(self._nodes.items(), self._setting.node)
        own = self._nodes.get(self._setting.node)
        cidrs = plan.ranges(own) if own is not None else []
        if self._applied is None or cidrs[:1] != [self._range]:
            if not cidrs or not (wanted.routes or iproute.exists(self._setting.device)):
                return
            await asyncio.to_thread(self._record.add, "link", self._setting.device)
            await asyncio.to_thread(self._record.add, "nft_table", f"ip {self._setting.table}")
            await device.ensure(self._setting, cidrs[0])
            self._range = cidrs[0]
            self._applied = await device.read(self._setting.device)
        if wanted != self._applied:
            await device.guard(self._setting, wanted)
            await device.apply(self._setting.device, self._applied, wanted)
            _log.info("other nodes' pods are reachable", nodes=len(wanted.forwards))
            self._applied = wanted

    def _changed(self, old: Node | None, new: Node | None) -> None:
        if old is None or new is None or _facts(old) != _facts(new):
            self._woken.set()


def _facts(node: Node) -> tuple[str, list[str]]:
    return node.address(), plan.ranges(node)
