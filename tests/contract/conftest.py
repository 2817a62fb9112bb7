"""Stores for the contract suite: every test that asks for `store` runs once per driver."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tiphys.store import Store, Unavailable
from tiphys.store.etcd import EtcdStore
from tiphys.store.memory import MemoryStore
from tiphys.store.sqlite import SqliteStore


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def etcd(directory: Path) -> AsyncIterator[str]:
    """A real etcd of one member with nothing in it; where it listens."""
    client, peer = (f"http://127.0.0.1:{_free_port()}" for _ in range(2))
    process = await asyncio.create_subprocess_exec(
        "etcd", "--data-dir", str(directory), "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
        "--logger", "zap", "--log-level", "error", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    endpoint = client.removeprefix("http://")
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    await (await EtcdStore.open([endpoint])).close()
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)
        yield endpoint
    finally:
        process.kill()
        await process.wait()


@pytest.fixture(params=["memory", "sqlite", "etcd"])
async def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """Opens a fresh store of the driver under test; keyword arguments go to the driver."""
    async with AsyncExitStack() as stack:

        async def open_(**options: int) -> Store:
            store: Store
            if request.param == "memory":
                store = MemoryStore(**options)
            elif request.param == "etcd":
                endpoint = await stack.enter_async_context(etcd(tmp_path / "etcd"))
                store = await EtcdStore.open([endpoint], **options)
            else:
                store = await SqliteStore.open(tmp_path / "store.db", **options)
            stack.push_async_callback(store.close)
            return store

        yield open_


@pytest.fixture
async def store(open_store: Any) -> Store:
    opened: Store = await open_store()
    return opened
