"""The node's Lease: kept although servers hang, and what is done when contact was lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from tiphys.api.errors import NotFound
from tiphys.base.clock import VirtualClock, settle
from tiphys.client.client import Client
from tiphys.client.transport import Unreachable
from tiphys.kubelet.config import KubeletConfig
from tiphys.kubelet.fake import FakeRuntime
from tiphys.kubelet.node_reporter import NodeReporter


class Server:
    """Takes leases and statuses; while `hung`, a request fails when its time is over, as over HTTP."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock, self.hung, self.forgotten = clock, False, False
        self.renewed: list[float] = []
        self.told = self.reconnected = 0

    async def send(self, method: str, path: str, *, within: float = 60.0, **_: Any) -> bytes:
        if self.hung:
            await self.clock.sleep(within)
            raise Unreachable("no answer in time")
        if method == "POST" and path.endswith("/nodes"):
            self.forgotten = False
        if self.forgotten and method == "PATCH":
            raise NotFound(f"{path} not found")
        if "/leases/" in path:
            self.renewed.append(self.clock.monotonic())
        elif path.endswith("/status"):
            self.told += 1
        return orjson.dumps({"metadata": {"name": "n1"}})

    async def close(self) -> None:
        self.reconnected += 1


@pytest.fixture
async def server() -> Any:
    clock = VirtualClock()
    server = Server(clock)
    config = KubeletConfig("n1", Path("/nonexistent"), Path(), Path(), ["192.0.2.1"], simulated=True)
    reporter = NodeReporter(config, Client(server, manager="test"), FakeRuntime(clock), clock)  # type: ignore[arg-type]
    tasks = [asyncio.create_task(work) for work in (reporter.renew(), reporter.report())]
    await settle()
    yield server
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def steps(server: Server, seconds: float) -> None:
    for _ in range(round(seconds / 0.25)):
        await server.clock.advance(0.25)
        await settle()


async def test_the_lease_is_renewed_while_it_holds(server: Server) -> None:
    await steps(server, 30)
    assert len(server.renewed) == 11
    assert server.reconnected == 0


async def test_a_server_that_hangs_for_a_moment_costs_no_lease(server: Server) -> None:
    await steps(server, 3)
    server.hung = True
    await steps(server, 4)
    server.hung = False
    await steps(server, 4)
    gaps = [after - before for before, after in zip(server.renewed, server.renewed[1:], strict=False)]
    assert max(gaps) < KubeletConfig("n1", Path(), Path(), Path(), []).lease_seconds


async def test_who_lost_contact_trusts_no_old_connection_and_tells_the_status_anew(server: Server) -> None:
    await steps(server, 3)
    told = server.told
    server.hung = True
    await steps(server, 20)
    assert server.reconnected > 0
    server.hung = False
    await steps(server, 10)
    assert server.told > told


async def test_a_node_that_the_server_has_forgotten_registers_again_with_its_next_renewal(server: Server) -> None:
    await steps(server, 4)
    # As a cluster is that was restored to a time before the node was there.
    server.forgotten = True
    await steps(server, 4)
    assert not server.forgotten
