"""A real API server over the memory store, without sockets: requests in, responses out."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tiphys.api.http import JSON, Request, Response, User
from tiphys.base.clock import VirtualClock
from tiphys.base.tasks import Supervisor
from tiphys.client.inprocess import InProcess
from tiphys.kinds.registry import builtin
from tiphys.server.assemble import Assembled, Settings, assemble
from tiphys.server.bootstrap import bootstrap
from tiphys.store.memory import MemoryStore

ADMIN = User("admin", groups=("system:masters", "system:authenticated"))
NETWORK = ipaddress.IPv4Network("10.96.0.0/16")


@dataclass
class Api:
    """`await api("POST", path, body)` as admin; `.code` and `.json` of the answer."""

    assembled: Assembled
    clock: VirtualClock

    async def respond(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        user: User | None = ADMIN,
        content_type: str = JSON,
        accept: str = JSON,
        **query: str,
    ) -> Response:
        data = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        headers = {"content-type": content_type, "accept": accept, "user-agent": "test/1"}
        values = {name.rstrip("_"): [value] for name, value in query.items()}
        return await self.assembled.server.handle(Request(method, path, values, headers, data, user))

    async def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        response = await self.respond(method, path, body, **options)
        return response.status, orjson.loads(response.body)

    async def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        code, answer = await self(method, path, body, **options)
        assert code < 300, answer
        return answer


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Api]:
    """An API server for the length of the block; `settings` are fields of `Settings`."""
    clock = VirtualClock()
    key = ec.generate_private_key(ec.SECP256R1())
    assembled = await assemble(MemoryStore(), builtin(), Settings(NETWORK, "https://issuer", key, **settings), clock)
    async with Supervisor(clock) as supervisor:
        supervisor.start("cache", assembled.cache.run)
        await bootstrap(InProcess(assembled.server.handle, ADMIN, "test"), NETWORK)
        supervisor.start("custom resources", assembled.custom.run)
        yield Api(assembled, clock)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving() as api:
        yield api
