"""An API server in this process behind real TLS, for tests that need the wire but no node."""

from __future__ import annotations

import base64
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from tiphys.api.http import JSON, User
from tiphys.base.clock import SystemClock
from tiphys.base.tasks import Supervisor
from tiphys.client.inprocess import InProcess
from tiphys.kinds.registry import builtin
from tiphys.main.pki import FRONT_PROXY, Leaf, Pki, load_key
from tiphys.server.aggregation.client import Identity
from tiphys.server.assemble import Assembled, Settings, assemble
from tiphys.server.bootstrap import bootstrap
from tiphys.server.connect import Connect
from tiphys.server.web import Front
from tiphys.store.memory import MemoryStore

NETWORK = ipaddress.IPv4Network("10.96.0.0/16")
_ROOT = User("admin", groups=("system:masters", "system:authenticated"))
_MASTERS = Leaf("admin", ("system:masters",))
# A Service's name that the test's own servers have in their certificates.
SERVICE_NAME = "hooks.default.svc"


@dataclass
class Served:
    """`await served("POST", path, body)` speaks HTTPS as a cluster administrator: status, headers and the object."""

    url: str
    pki: Pki
    assembled: Assembled
    session: aiohttp.ClientSession
    supervisor: Supervisor

    async def __call__(
        self, method: str, path: str, body: Any = None, *, content_type: str = JSON, **query: str
    ) -> tuple[int, Any]:
        data = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": content_type, "Accept": JSON}
        async with self.session.request(method, self.url + path, data=data, headers=headers, params=query) as answer:
            return answer.status, orjson.loads(await answer.read())

    async def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        code, answer = await self(method, path, body, **options)
        assert code < 300, answer
        return answer

    @property
    def bundle(self) -> str:
        """The CA of the test's own servers, as a caBundle."""
        return base64.b64encode(self.pki.ca.read_bytes()).decode()


@asynccontextmanager
async def served(base: Path) -> AsyncIterator[Served]:
    clock, pki = SystemClock(), Pki(base / "pki")
    addresses = ("localhost", "127.0.0.1", SERVICE_NAME)
    pki.ensure("test", {"server": Leaf("server", names=addresses), "admin": _MASTERS})
    async with AsyncExitStack() as stack:
        identity = Identity(pki.certificate(FRONT_PROXY), pki.key(FRONT_PROXY))
        settings = Settings(NETWORK, "https://issuer", load_key(pki.key("sa")), front_proxy=identity)
        assembled = await assemble(MemoryStore(), builtin(), settings, clock)
        stack.push_async_callback(assembled.webhooks.close)
        stack.push_async_callback(assembled.aggregation.close)
        supervisor = await stack.enter_async_context(Supervisor(clock))
        supervisor.start("cache", assembled.cache.run)
        await bootstrap(InProcess(assembled.server.handle, _ROOT, "test"), NETWORK)
        supervisor.start("custom resources", assembled.custom.run)
        supervisor.start("API services", assembled.api_services.run)
        connect = Connect(assembled.server, pki.client_tls("admin"))
        stack.push_async_callback(connect.close)
        front = Front(assembled.server, assembled.authenticator, connect, assembled.remote_upgrades)
        await front.start("127.0.0.1", 0, pki.server_tls("server"))
        stack.push_async_callback(front.stop)
        connector = aiohttp.TCPConnector(ssl=pki.client_tls("admin"))
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        yield Served(f"https://127.0.0.1:{front.port}", pki, assembled, session, supervisor)


@asynccontextmanager
async def listening(handler: Any, tls: ssl.SSLContext, address: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server of the test's own on this machine; the port it got."""
    server = web.Server(handler, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address, 0, ssl_context=tls)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
