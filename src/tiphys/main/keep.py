"""`tiphys keep`: start a cluster's processes on this machine and keep them running, in the foreground, for any init.

A process that ends is started again by `up`, after pauses that grow while it does not stay. Whoever takes the cluster
down ends its keeper first. SIGTERM ends the processes and leaves the pods, as `up` finds them again; after `tiphys node
shutdown` nothing is started until the next `up`, which SIGHUP tells of.
Source of the notification: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence

from tiphys.base.backoff import Backoff
from tiphys.main.cluster import DEFAULT_NAME, Cluster, ClusterError
from tiphys.main.node_settings import NodeSettings, nodes_of
from tiphys.node import process

ROLE = "keeper"
_RETRY = Backoff(0.5, 30.0)
_STABLE_SECONDS = 60.0
_GRACE = 10.0


def keep(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        "tiphys keep", description="Start a cluster and keep its processes running until a signal ends this one."
    )
    parser.add_argument("name", nargs="?", default=DEFAULT_NAME, help="its name (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        cluster = Cluster(options.name)
        if (other := process.load(cluster.pidfile(ROLE))) is not None:
            raise ClusterError(f"cluster {cluster.name!r} has a keeper already, process {other.pid}")
        cluster.run.mkdir(parents=True, exist_ok=True, mode=0o755)
        process.Identity(os.getpid(), process.started(os.getpid()) or 0).save(cluster.pidfile(ROLE))
        asyncio.run(_Keeper(cluster).run())
    except ClusterError as error:
        print(f"tiphys keep: {error}", file=sys.stderr)
        return 1
    return 0


def tell(cluster: Cluster) -> None:
    """Have the keeper, if there is one, look again at what runs."""
    found = process.load(cluster.pidfile(ROLE))
    if found is not None:
        found.signal(signal.SIGHUP)


def paused(cluster: Cluster) -> bool:
    """Whether nothing is to be started again: the machine goes down."""
    return (cluster.run / "shutdown").exists()


def pause(cluster: Cluster) -> None:
    (cluster.run / "shutdown").touch()


def resume(cluster: Cluster) -> None:
    (cluster.run / "shutdown").unlink(missing_ok=True)


class _Keeper:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._stop, self._changed = asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._changed.set)
        working = asyncio.create_task(self._work())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)
        if self._stop.is_set():
            await self._end()
            return
        # Work never ends but by failing.
        await working

    async def _work(self) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            if not paused(self._cluster):
                if not await self._up():
                    await asyncio.sleep(_RETRY.delay(failures))
                    failures += 1
                    continue
                _notify("READY=1")
            self._changed.clear()
            await self._until_something_ends()
            if self._changed.is_set():
                continue
            failures = 0 if time.monotonic() - began > _STABLE_SECONDS else failures + 1
            await asyncio.sleep(_RETRY.delay(failures) if failures else 0)

    async def _up(self) -> bool:
        """Whether all runs that is to. A command of its own, so that this process stays small."""
        words = (sys.executable, "-m", "tiphys.main.entry", "up", self._cluster.name)
        child = await asyncio.create_subprocess_exec(*words)
        try:
            return await child.wait() == 0
        except asyncio.CancelledError:
            child.terminate()
            await child.wait()
            raise

    async def _until_something_ends(self) -> None:
        """Return when a process has ended that is to run, or when somebody says that others are to."""
        waits = [asyncio.create_task(found.wait()) for found in self._running()]
        told = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait((*waits, told), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*waits, told):
                task.cancel()
            await asyncio.gather(*waits, told, return_exceptions=True)

    def _nodes(self) -> list[NodeSettings]:
        return nodes_of(self._cluster, self._cluster.settings()) if self._cluster.exists else []

    def _running(self) -> list[process.Identity]:
        # A member of etcd is its server's to keep.
        files = [node.pidfile(role) for node in self._nodes() for role in node.roles if role != "etcd"]
        return [found for found in map(process.load, files) if found is not None]

    async def _end(self) -> None:
        """End the processes; agents first, so that they do not miss their servers."""
        nodes = self._nodes()
        for role in ("agent", "server", "etcd"):
            found = [process.load(node.pidfile(role)) for node in nodes]
            await asyncio.gather(*(each.stop(_GRACE) for each in found if each is not None))
        self._cluster.pidfile(ROLE).unlink(missing_ok=True)


def _notify(text: str) -> None:
    """Tell systemd, if it listens."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if not name:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
        there.sendto(text.encode(), f"\0{name[1:]}" if name.startswith("@") else name)
