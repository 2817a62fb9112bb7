"""A whole API server in memory, with the controllers that a test asks for, on a clock that stands still.

`cluster.start(ReplicaSetController)` runs a controller; `await cluster.until(...)` waits for what a user would see.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tiphys.api.errors import NotFound
from tiphys.api.http import User
from tiphys.api.meta import ObjectMeta
from tiphys.api.resource import Json, ResourceType
from tiphys.api.time import rfc3339
from tiphys.base.clock import VirtualClock
from tiphys.base.tasks import Supervisor
from tiphys.client.client import Client
from tiphys.client.informer import Informers
from tiphys.client.inprocess import InProcess
from tiphys.client.timers import Timers
from tiphys.controllers.base import Context, Controller, Runner
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.core.serviceaccount import SERVICE_ACCOUNTS
from tiphys.kinds.registry import builtin
from tiphys.server.assemble import Settings, assemble
from tiphys.server.bootstrap import bootstrap
from tiphys.store.memory import MemoryStore

_DEADLINE = 20.0


class Cluster:
    def __init__(self, clock: VirtualClock, transport: InProcess, supervisor: Supervisor) -> None:
        self.clock, self.transport = clock, transport
        self.client = Client(transport, manager="test")
        self._supervisor = supervisor
        self.informers = Informers(self.client, clock)
        self.timers = Timers(clock)
        supervisor.start("timers", self.timers.run)
        self._running: set[int] = set()

    def context(self, name: str) -> Context:
        return Context(name, Client(self.transport, manager=name), self.informers, self.clock, self.timers)

    def start(self, make: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Run the controller `make(context, ...)`."""
        context = self.context(getattr(make, "name", "") or "controller")
        controller: Controller = make(context, *arguments, **options)
        for informer in self.informers:
            if id(informer) not in self._running:
                self._running.add(id(informer))
                self._supervisor.start(informer.resource.plural, informer.run)
        self._supervisor.start(controller.name, Runner(controller, context).run)
        return controller

    async def until(self, check: Callable[[], Awaitable[Any]], what: str = "") -> Any:
        """What `check` gives once it is true; it is asked again until then, while time stands still."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _DEADLINE
        while True:
            found = await check()
            if found:
                return found
            if loop.time() > end:
                raise AssertionError(f"never came true: {what or check}")
            await asyncio.sleep(0.002)

    async def create(self, resource: ResourceType[Any], obj: Json) -> Json:
        if resource.namespaced:
            obj["metadata"].setdefault("namespace", "default")
        return await self.client.of(resource).create_json(obj)

    async def get(self, resource: ResourceType[Any], name: str, namespace: str = "default") -> Json | None:
        try:
            return await self.client.of(resource).get_json(name, namespace if resource.namespaced else "")
        except NotFound:
            return None

    async def list(self, resource: ResourceType[Any], namespace: str = "", **query: str) -> list[Any]:
        return list((await self.client.of(resource).list(namespace, **query))[0])

    async def patch(
        self, resource: ResourceType[Any], name: str, patch: Any, namespace: str = "default", **options: Any
    ) -> Any:
        meta = ObjectMeta(name=name, namespace=namespace if resource.namespaced else "")
        return await self.client.of(resource).patch(meta, patch, **options)

    async def delete(
        self, resource: ResourceType[Any], name: str, namespace: str = "default", **options: Any
    ) -> None:
        meta = ObjectMeta(name=name, namespace=namespace if resource.namespaced else "")
        await self.client.of(resource).delete(meta, **options)

    async def gone(self, resource: ResourceType[Any], name: str, namespace: str = "default") -> None:
        async def check() -> bool:
            return await self.get(resource, name, namespace) is None

        await self.until(check, f"{resource.plural} {name} gone")

    # What a scheduler and a kubelet would do.

    async def make_ready(
        self, name: str, namespace: str = "default", *, ip: str = "10.0.0.1", ready: bool = True
    ) -> None:
        now = rfc3339(self.clock.time())
        condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": now}
        status = {"phase": "Running", "conditions": [condition], "podIP": ip, "podIPs": [{"ip": ip}]}
        await self.patch(PODS, name, {"status": status}, namespace, subresource="status")

    async def run_pods(self, namespace: str = "default", **query: str) -> None:
        """Make every pod that is not ready so, and let go of those that are being deleted."""
        for pod in await self.list(PODS, namespace, **query):
            if pod.deleted:
                await self.delete(PODS, pod.metadata.name, namespace, grace=0)
            elif not pod.ready:
                await self.make_ready(pod.metadata.name, namespace)

    async def bind(self, name: str, node: str, namespace: str = "default") -> None:
        binding = {
            "metadata": {"name": name, "namespace": namespace}, "target": {"kind": "Node", "name": node},
        }  # fmt: skip
        await self.client.of(PODS).create_json(binding, subresource="binding")

    async def add_node(self, name: str, **fields: Any) -> Json:
        return await self.create(NODES, {"metadata": {"name": name, **fields.pop("metadata", {})}, **fields})


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    clock = VirtualClock()
    key = ec.generate_private_key(ec.SECP256R1())
    settings = Settings(ipaddress.IPv4Network("10.43.0.0/16"), "https://kubernetes.default.svc", key)
    assembled = await assemble(MemoryStore(), builtin(), settings, clock)
    user = User("system:test", groups=("system:masters", "system:authenticated"))
    transport = InProcess(assembled.server.handle, user, "test")
    async with Supervisor(clock) as supervisor:
        supervisor.start("cache", assembled.cache.run)
        await bootstrap(transport, settings.service_network)
        supervisor.start("custom resources", assembled.custom.run)
        account = {"metadata": {"name": "default", "namespace": "default"}}
        cluster = Cluster(clock, transport, supervisor)
        await cluster.create(SERVICE_ACCOUNTS, account)
        yield cluster
        assembled.server.watches.drain()
