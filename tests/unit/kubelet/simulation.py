"""A kubelet with the fake runtime against an API server in this process, on a virtual clock: no sockets, no files."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from tiphys.api.errors import NotFound
from tiphys.api.http import User
from tiphys.base.clock import VirtualClock, settle
from tiphys.base.tasks import Supervisor
from tiphys.client.client import Client
from tiphys.client.inprocess import InProcess
from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.core.serviceaccount import SERVICE_ACCOUNTS
from tiphys.kinds.registry import builtin
from tiphys.kubelet.agent import Hooks, Kubelet
from tiphys.kubelet.config import KubeletConfig
from tiphys.kubelet.fake import FakeRuntime
from tiphys.server.assemble import Settings, assemble
from tiphys.server.bootstrap import bootstrap
from tiphys.store.memory import MemoryStore

_ROOT = User("admin", groups=("system:masters", "system:authenticated"))


@dataclass
class Simulation:
    clock: VirtualClock
    client: Client
    runtime: FakeRuntime
    kubelet: Kubelet

    async def create(self, spec: dict[str, Any], **meta: Any) -> None:
        spec = {"nodeName": "n1", "automountServiceAccountToken": False, **spec}
        metadata = {"name": "p", "namespace": "default", **meta}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        await self.client.of(PODS).create(body)
        await self.settle()

    async def settle(self) -> None:
        # The second time for what waits a moment for company.
        for seconds in (0, 0.1):
            await self.clock.advance(seconds)
            for _ in range(10):
                await settle()

    async def after(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        await self.settle()

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.client.of(PODS).get_json("p", "default"))["status"]
        return found

    async def container(self, position: int = 0, kind: str = "containerStatuses") -> dict[str, Any]:
        found: dict[str, Any] = (await self.status())[kind][position]
        return found

    async def exists(self) -> bool:
        try:
            await self.client.of(PODS).get("p", "default")
        except NotFound:
            return False
        return True

    async def delete(self, grace: int | None = None) -> None:
        await self.client.of(PODS).delete((await self.client.of(PODS).get("p", "default")).metadata, grace=grace)
        await self.settle()

    async def reasons(self) -> list[str]:
        events, _ = await self.client.of(EVENTS).list("default")
        return [event.reason for event in events]


@asynccontextmanager
async def simulation(runtime: FakeRuntime | None = None, hooks: Hooks | None = None) -> AsyncIterator[Simulation]:
    clock = VirtualClock()
    async with AsyncExitStack() as stack:
        key = ec.generate_private_key(ec.SECP256R1())
        network = ipaddress.ip_network("10.96.0.0/16")
        built = await assemble(MemoryStore(), builtin(), Settings(network, "https://test", key), clock)
        supervisor = await stack.enter_async_context(Supervisor(clock))
        supervisor.start("cache", built.cache.run)
        transport = InProcess(built.server.handle, _ROOT, "test")
        await bootstrap(transport, network)
        client = Client(transport, manager="test")
        meta = {"name": "default", "namespace": "default"}
        await client.of(SERVICE_ACCOUNTS).create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
        fake = runtime or FakeRuntime(clock)
        fake._clock = clock
        nowhere = Path("/nonexistent")
        config = KubeletConfig("n1", nowhere, nowhere, nowhere, ["192.0.2.1"], simulated=True)
        kubelet = Kubelet(config, client, fake, clock, hooks=hooks or Hooks())
        task = asyncio.create_task(kubelet.run())
        made = Simulation(clock, client, fake, kubelet)
        await made.settle()
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.wait([task])
