"""What is lost when a machine is lost, and how long it takes to have everything again; part of `make bench-ha`.

A cluster of one with many objects ships its changes all the time, to a directory. While somebody writes, its processes
are killed and all that it had is removed; `tiphys restore` brings it back. Then it moves to etcd.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))
from real_cluster import TIPHYS, RealCluster, until

from tiphys.api.errors import ApiError
from tiphys.client.client import Client, ResourceClient
from tiphys.client.http import Https
from tiphys.client.transport import Unreachable
from tiphys.kinds.core.configmap import CONFIG_MAPS
from tiphys.main.cluster import Cluster
from tiphys.main.pki import Pki

NAME = "bench-recovery"
_WRITERS, _SECONDS = 32, 6.0
Acknowledged = list[tuple[float, str]]


@asynccontextmanager
async def config_maps() -> AsyncIterator[ResourceClient[Any]]:
    cluster = Cluster(NAME)
    tls = Pki(cluster.pki).client_tls("admin")
    client = Client(Https([cluster.settings().server_url], tls, agent="bench"), manager="bench")
    try:
        yield client.of(CONFIG_MAPS)
    finally:
        await client.close()


def config_map(name: str) -> dict:
    data = {"noise": os.urandom(400).hex()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}


async def fill(objects: int) -> None:
    numbers = iter(range(objects))

    async def work() -> None:
        for number in numbers:
            await maps.create(config_map(f"fill-{number}"))

    async with config_maps() as maps:
        await asyncio.gather(*(work() for _ in range(_WRITERS)))


async def write(written: Acknowledged) -> None:
    """Until the server is gone; every write with the time of its acknowledgement."""
    async with config_maps() as maps:
        with suppress(ApiError, Unreachable):
            for number in count():
                await maps.create(config_map(f"written-{number}"))
                written.append((time.monotonic(), f"written-{number}"))
                await asyncio.sleep(0.01)


async def write_and_die(cluster: RealCluster) -> tuple[float, Acknowledged]:
    """When the machine died, and what was acknowledged before."""
    written: Acknowledged = []
    pids = [cluster.pid(role) for role in ("server", "agent")]
    writing = asyncio.create_task(write(written))
    await asyncio.sleep(_SECONDS)
    died = time.monotonic()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    await writing
    return died, written


async def names() -> set[str]:
    async with config_maps() as maps:
        return {found.metadata.name for found in (await maps.list("default"))[0]}


def purge() -> None:
    subprocess.run([TIPHYS, "down", NAME, "--purge"], check=False, capture_output=True, timeout=120)


def timed(cluster: RealCluster, *words: str) -> float:
    began = time.monotonic()
    cluster.tiphys(*words)
    return time.monotonic() - began


def recovery(objects: int) -> None:
    cluster = RealCluster(NAME, Path(f"/etc/tiphys/{NAME}.kubeconfig"))
    with tempfile.TemporaryDirectory() as place:
        try:
            purge()
            cluster.tiphys("up", NAME)
            asyncio.run(fill(objects))
            cluster.tiphys("backup", "configure", NAME, "--to", place, "--continuous", "--every", "6h")
            until(lambda: backups(cluster), "a full backup", 120)
            died, written = asyncio.run(write_and_die(cluster))
            purge()
            restored = timed(cluster, "restore", place)
            there = asyncio.run(names())
            lost = [at for at, name in written if name not in there]
            moved = timed(cluster, "store", "migrate", NAME, "--to", "etcd")
            kept = asyncio.run(names()) == there
        finally:
            purge()
    point = died - min(lost) if lost else 0.0
    print(
        f"recovery point of continuous backup: {point:.2f} s, {len(lost)} of {len(written)} writes lost (at most 1 s)"
    )
    print(f"restore of {len(there)} objects to Ready: {restored:.1f} s (at most 15 s for 50000)")
    print(f"migration of {len(there)} objects to etcd: {moved:.1f} s (at most 10 s for 50000), all there: {kept}")


def backups(cluster: RealCluster) -> bool:
    return bool(json.loads(cluster.tiphys("backup", "list", NAME, "-o", "json"))["backups"])


if __name__ == "__main__":
    recovery(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
