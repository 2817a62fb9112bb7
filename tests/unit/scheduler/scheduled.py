"""What the tests do to a cluster that has a scheduler, and what they wait to see."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from scheduler_objects import Json, node_json, pod_json

from tiphys.api.http import Request, Response, User
from tiphys.api.meta import ObjectMeta
from tiphys.base.clock import VirtualClock
from tiphys.base.tasks import Supervisor
from tiphys.client.client import Client
from tiphys.client.informer import Informers
from tiphys.client.inprocess import InProcess
from tiphys.kinds.core.event import EVENTS, Event
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.pod import PODS, Pod, PodCondition
from tiphys.kinds.core.serviceaccount import SERVICE_ACCOUNTS
from tiphys.kinds.registry import builtin
from tiphys.scheduler.profile import Profile
from tiphys.scheduler.scheduler import Scheduler
from tiphys.server.admission.plugins.order import Selected
from tiphys.server.assemble import Settings, assemble
from tiphys.server.bootstrap import bootstrap
from tiphys.store.memory import MemoryStore

_DEADLINE = 8.0


class Scheduled:
    """What a user does to a cluster that has a scheduler. `answer` may put another answer in place of the server's."""

    def __init__(self, clock: VirtualClock, client: Client) -> None:
        self.clock, self.client = clock, client
        self.answer: Callable[[Request], Response | None] = lambda request: None
        self.requests: list[Request] = []

    async def node(self, name: str, **more: Any) -> None:
        await self.client.of(NODES).create_json(node_json(name, **more))

    async def pod(self, name: str, **more: Any) -> None:
        manifest = pod_json(name, **more)
        del manifest["metadata"]["uid"]
        await self.client.of(PODS).create_json(manifest)

    async def get(self, name: str) -> Pod:
        return await self.client.of(PODS).get(name, "default")

    async def patch(self, name: str, patch: Json, **options: Any) -> None:
        await self.client.of(PODS).patch(ObjectMeta(name=name, namespace="default"), patch, **options)

    async def delete(self, name: str) -> None:
        await self.client.of(PODS).delete(ObjectMeta(name=name, namespace="default"), grace=0)

    async def until(self, check: Callable[[], Any], what: str) -> Any:
        """What `check` (which may be a coroutine function) gives once it is true, while the clock stands still."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _DEADLINE
        while True:
            found = check()
            found = await found if asyncio.iscoroutine(found) else found
            if found:
                return found
            assert loop.time() < end, f"never came true: {what}"
            await asyncio.sleep(0.002)

    async def bound(self, name: str) -> str:
        """The node of a pod once it has one."""

        async def check() -> str:
            return (await self.get(name)).spec.node_name

        node: str = await self.until(check, f"{name} bound")
        return node

    async def refused(self, name: str, message: str) -> PodCondition:
        """The PodScheduled condition once it says `message`, whatever follows of preemption."""

        async def check() -> PodCondition | None:
            found = (await self.get(name)).status.condition("PodScheduled")
            said = found is not None and found.status == "False"
            return found if said and found.message.partition(" preemption: ")[0] == message else None

        condition: PodCondition = await self.until(check, f"{name} refused: {message}")
        return condition

    async def event(self, name: str, reason: str) -> Event:
        async def check() -> Event | None:
            events, _ = await self.client.of(EVENTS).list("default")
            return next((e for e in events if (e.involved_object.name, e.reason) == (name, reason)), None)

        event: Event = await self.until(check, f"event {reason} of {name}")
        return event


@asynccontextmanager
async def scheduling(*profiles: Profile) -> AsyncIterator[Scheduled]:
    """With these profiles; without any, the default one."""
    clock = VirtualClock()
    # Nobody is here to say that the nodes are ready.
    admission = Selected(disable=["TaintNodesByCondition"])
    network, key = ipaddress.IPv4Network("10.43.0.0/16"), ec.generate_private_key(ec.SECP256R1())
    settings = Settings(network, "https://kubernetes.default.svc", key, admission=admission)
    assembled = await assemble(MemoryStore(), builtin(), settings, clock)
    user = User("system:test", groups=("system:masters", "system:authenticated"))
    transport = InProcess(assembled.server.handle, user, "test")
    made = Scheduled(clock, Client(transport, manager="test"))

    async def handle(request: Request) -> Response:
        made.requests.append(request)
        return made.answer(request) or await assembled.server.handle(request)

    async with Supervisor(clock) as supervisor:
        supervisor.start("cache", assembled.cache.run)
        await bootstrap(transport, settings.service_network)
        await made.client.of(SERVICE_ACCOUNTS).create_json({"metadata": {"name": "default", "namespace": "default"}})
        client = Client(InProcess(handle, user, "scheduler"), manager="scheduler")
        informers = Informers(client, clock)
        scheduler = Scheduler(client, informers, clock, profiles)
        for informer in informers:
            supervisor.start(informer.resource.plural, informer.run)
        supervisor.start("scheduler", scheduler.run)
        yield made
        assembled.server.watches.drain()
