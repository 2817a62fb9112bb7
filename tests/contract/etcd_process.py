"""A real etcd for the tests of the store."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tiphys.store import Unavailable
from tiphys.store.etcd import EtcdStore


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
