"""The fixture of a whole API server in memory with a scheduler, on a clock that stands still."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from scheduled import Scheduled

from tiphys.api.http import Request, Response, User
from tiphys.base.clock import VirtualClock
from tiphys.base.tasks import Supervisor
from tiphys.client.client import Client
from tiphys.client.informer import Informers
from tiphys.client.inprocess import InProcess
from tiphys.kinds.core.serviceaccount import SERVICE_ACCOUNTS
from tiphys.kinds.registry import builtin
from tiphys.scheduler.scheduler import Scheduler
from tiphys.server.admission.plugins.order import Selected
from tiphys.server.assemble import Settings, assemble
from tiphys.server.bootstrap import bootstrap
from tiphys.store.memory import MemoryStore


@pytest.fixture
async def scheduled() -> AsyncIterator[Scheduled]:
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
        scheduler = Scheduler(client, informers, clock)
        for informer in informers:
            supervisor.start(informer.resource.plural, informer.run)
        supervisor.start("scheduler", scheduler.run)
        yield made
        assembled.server.watches.drain()
