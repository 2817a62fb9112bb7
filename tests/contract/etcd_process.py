"""A real etcd for the tests of the store."""

from __future__ import annotations

import asyncio
import socket
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tiphys.store import Unavailable
from tiphys.store.etcd import EtcdStore


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Member:
    endpoint: str
    process: Process


@asynccontextmanager
async def etcd(directory: Path) -> AsyncIterator[str]:
    """A real etcd of one member with nothing in it; where it listens."""
    async with members(directory, 1) as (only,):
        yield only.endpoint


@asynccontextmanager
async def members(directory: Path, count: int, *more: str) -> AsyncIterator[list[Member]]:
    """A real etcd of several members with nothing in it."""
    places = {f"m{number}": (_free_port(), _free_port()) for number in range(count)}
    together = ",".join(f"{name}=http://127.0.0.1:{peer}" for name, (_, peer) in places.items())
    started = []
    try:
        for name, (port, peer_port) in places.items():
            client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
            process = await asyncio.create_subprocess_exec(
                "etcd", "--name", name, "--data-dir", str(directory / name), "--listen-client-urls", client,
                "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--initial-cluster", together, "--logger", "zap", "--log-level", "error", "--election-timeout", "600",
                *more,                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            started.append(Member(f"127.0.0.1:{port}", process))
        async with asyncio.timeout(20):
            for member in started:
                await _answers(member.endpoint)
        yield started
    finally:
        for member in started:
            if member.process.returncode is None:
                member.process.kill()
            await member.process.wait()


async def _answers(endpoint: str) -> None:
    while True:
        try:
            await (await EtcdStore.open([endpoint])).close()
            return
        except Unavailable:
            await asyncio.sleep(0.05)
