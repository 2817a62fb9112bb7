"""Simulated nodes: real kubelets over a runtime that only says that it runs containers. No root, no disk.

What a pod does is said by its annotations (`kubelet/fake.py`); what a node has, by `SimulatedNodes`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tiphys.base.clock import Clock
from tiphys.base.tasks import Supervisor
from tiphys.client.client import Client
from tiphys.kubelet.agent import Kubelet
from tiphys.kubelet.config import KubeletConfig
from tiphys.kubelet.fake import FakeRuntime

_NOWHERE = Path("/nonexistent")
# They do not die, and a thousand of them write their leases to the same disk.
_LEASE = 40
_CAPACITY = {"cpu": "8", "memory": "32Gi", "ephemeral-storage": "100Gi", "pods": "110"}


@dataclass(frozen=True, slots=True)
class SimulatedNodes:
    """`count` nodes, called `prefix`-1 and so on; a container takes `start_delay` seconds to start."""

    count: int = 1
    prefix: str = "sim"
    capacity: Mapping[str, str] = field(default_factory=lambda: dict(_CAPACITY))
    start_delay: float = 0.0

    @property
    def names(self) -> list[str]:
        return [f"{self.prefix}-{number}" for number in range(1, self.count + 1)]


async def simulate(wanted: SimulatedNodes, client_of: Callable[[str], Client], clock: Clock) -> None:
    """Run the nodes until cancelled; `client_of(name)` is a client with the rights of the node of that name."""
    async with Supervisor(clock) as supervisor:
        for number, name in enumerate(wanted.names):
            supervisor.start(name, _kubelet(wanted, number, client_of(name), clock).run)
        await asyncio.Event().wait()


def _kubelet(wanted: SimulatedNodes, number: int, client: Client, clock: Clock) -> Kubelet:
    # Addresses of documentation (RFC 5737, RFC 6890): nothing that is simulated can be reached.
    high, low = divmod(number, 250)
    runtime = FakeRuntime(clock, start_delay=wanted.start_delay, subnet=f"198.{18 + high}.{low}")
    config = KubeletConfig(
        wanted.names[number], _NOWHERE, _NOWHERE, _NOWHERE, [f"203.0.{113 + high}.{low + 1}"],
        capacity=wanted.capacity, simulated=True, lease_seconds=_LEASE, lease_renew_seconds=_LEASE / 4,
    )  # fmt: skip
    return Kubelet(config, client, runtime, clock)
