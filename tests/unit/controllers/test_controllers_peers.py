"""API servers among themselves: who is there is told, who falls silent is forgotten, control planes are labelled."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tiphys.base.clock import settle
from tiphys.kinds.coordination.lease import LEASES
from tiphys.kinds.core.node import NODES
from tiphys.main.peers import Peers, show_role

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def peer(cluster: Any, name: str) -> Peers:
    return Peers(cluster.client, name, f"https://{name}:6443", NO_TLS, cluster.clock)


@asynccontextmanager
async def running(*work: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Told:
    def __init__(self) -> None:
        self.urls: list[str] = []

    async def __call__(self, urls: Sequence[str]) -> None:
        self.urls = list(urls)


async def until(cluster: Any, told: Told, *names: str) -> None:
    async def same() -> bool:
        return told.urls == [f"https://{name}:6443" for name in names]

    await cluster.until(same, f"{names} are told")


async def test_servers_are_told_as_they_come_and_go(cluster: Any) -> None:
    told = Told()
    async with running(peer(cluster, "a").announce(), peer(cluster, "a").publish(told)):
        await until(cluster, told, "a")
        async with running(peer(cluster, "b").announce()):
            await until(cluster, told, "a", "b")
        # It stopped in order and said so: nobody waits for its lease to be over.
        await until(cluster, told, "a")


async def test_a_server_that_falls_silent_is_forgotten(cluster: Any) -> None:
    told, silent = Told(), peer(cluster, "b")

    async def stays() -> None:
        return None

    silent._leave = stays  # type: ignore[method-assign]
    async with running(peer(cluster, "a").announce(), peer(cluster, "a").publish(told)):
        async with running(silent.announce()):
            await until(cluster, told, "a", "b")
        for _ in range(20):
            await cluster.clock.advance(1.0)
            await settle(100)
        await until(cluster, told, "a")
        assert await cluster.get(LEASES, "apiserver-b", "kube-system") is None


async def test_the_node_of_a_control_plane_is_labelled_once_it_is_there(cluster: Any) -> None:
    async with running(show_role(cluster.client, "one", cluster.clock)):
        await settle(100)
        await cluster.create(NODES, {"metadata": {"name": "one"}})
        await cluster.clock.advance(1.0)

        async def labelled() -> bool:
            node = await cluster.get(NODES, "one", "")
            return "node-role.kubernetes.io/control-plane" in (node["metadata"].get("labels") or {})

        await cluster.until(labelled, "the label")
