"""Simulated nodes: real kubelets over a runtime that only says that it runs containers. No root, no disk.

What pods do is said by their annotations and by `Behaviours` (`kubelet/behaviour.py`); what a node has, by
`SimulatedNodes`. A node is not ready while its annotation `tiphys.io/not-ready` is "true".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import msgspec

from tiphys.api.errors import no_such
from tiphys.api.resource import Json
from tiphys.base.clock import Clock
from tiphys.base.tasks import Supervisor
from tiphys.client.client import Client
from tiphys.kinds.core.node import Node
from tiphys.kubelet.agent import Hooks, Kubelet
from tiphys.kubelet.behaviour import CALM, NOT_READY, Behaviours
from tiphys.kubelet.config import KubeletConfig
from tiphys.kubelet.fake import FakeRuntime
from tiphys.kubelet.simulated_images import SimulatedImages
from tiphys.kubelet.simulated_use import SimulatedUse

_NOWHERE = Path("/nonexistent")
# They do not die, and a thousand of them write their leases to the same disk.
_LEASE = 40
_CAPACITY = {"cpu": "8", "memory": "32Gi", "ephemeral-storage": "100Gi", "pods": "110"}


@dataclass(frozen=True, slots=True)
class SimulatedNodes:
    """`count` nodes, called `prefix`-1 and so on, and what goes on there."""

    count: int = 1
    prefix: str = "sim"
    capacity: Mapping[str, str] = field(default_factory=lambda: dict(_CAPACITY))
    behaviours: Behaviours = CALM

    @property
    def names(self) -> list[str]:
        return [f"{self.prefix}-{number}" for number in range(1, self.count + 1)]


class Simulation:
    """The nodes; `client_of(name)` is a client with the rights of the node of that name."""

    def __init__(self, wanted: SimulatedNodes, client_of: Callable[[str], Client], clock: Clock) -> None:
        self._clock = clock
        self._nodes = {
            name: SimulatedNode(wanted, number, client_of(name), clock) for number, name in enumerate(wanted.names)
        }

    async def run(self) -> None:
        """Until cancelled."""
        async with Supervisor(self._clock) as supervisor:
            for name, node in self._nodes.items():
                node.start(name, supervisor)
            await asyncio.Event().wait()

    async def summary(self, name: str) -> Json:
        """What a node and its pods use: /stats/summary of its kubelet. Raises NotFound."""
        if name not in self._nodes:
            raise no_such("", "nodes", name)
        return self._nodes[name].use.summary()


class SimulatedNode:
    """A kubelet, its runtime, and what befalls it."""

    def __init__(self, wanted: SimulatedNodes, number: int, client: Client, clock: Clock) -> None:
        # Addresses of documentation (RFC 5737, RFC 6890): nothing that is simulated can be reached.
        high, low = divmod(number, 250)
        self._clock, self._behaviours = clock, wanted.behaviours
        name = wanted.names[number]
        self._runtime = FakeRuntime(clock, behaviours=wanted.behaviours, subnet=f"198.{18 + high}.{low}", node=name)
        config = KubeletConfig(
            name, _NOWHERE, _NOWHERE, _NOWHERE, [f"203.0.{113 + high}.{low + 1}"],
            capacity=wanted.capacity, simulated=True, lease_seconds=_LEASE, lease_renew_seconds=_LEASE / 4,
        )  # fmt: skip
        hooks = Hooks(node=self._seen, images=SimulatedImages(self._runtime, clock))
        self.kubelet = Kubelet(config, client, self._runtime, clock, hooks=hooks)
        self.use = SimulatedUse(self.kubelet, wanted.behaviours, clock)
        self._told = self._failing = False

    def start(self, name: str, supervisor: Supervisor) -> None:
        supervisor.start(name, self.kubelet.run)
        if self._runtime.chance.happens(self._behaviours.node_fails):
            supervisor.start(f"{name} fails", self._fail)

    def _seen(self, node: Node) -> None:
        told = node.metadata.annotations.get(NOT_READY) == "true"
        if told != self._told:
            self._told = told
            self._show()

    def _show(self) -> None:
        self._runtime.break_down("it is simulated to be" if self._told or self._failing else "")
        self.kubelet.reporter.changed()

    async def _fail(self) -> None:
        draw = self._runtime.chance.draw
        while True:
            for span in (self._behaviours.node_fails_after, self._behaviours.node_down):
                await self._clock.sleep(draw(span))
                self._failing = not self._failing
                self._show()


def behaviours(settings: Mapping[str, Any]) -> Behaviours:
    """Those that a file says, by the names of the fields of `Behaviours`. Raises ValueError."""
    known = {item.name for item in fields(Behaviours)} - {"use"}
    for name in settings:
        if name not in known:
            raise ValueError(f"{name!r} is not one of {', '.join(sorted(known))}")
    try:
        return msgspec.convert(settings, type=Behaviours)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
