"""The process of a cluster's simulated nodes: a child of its server, at the other end of a pipe.

The server is then what it is with real nodes, in what it does and in what memory it takes, and the nodes have a core of
their own. The child ends with the pipe, however its server ended.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from contextlib import suppress

from tiphys.api.http import Handler, Request, Response, User
from tiphys.base import collector, log
from tiphys.base.clock import SystemClock
from tiphys.client.client import Client
from tiphys.client.inprocess import InProcess
from tiphys.client.pipe import Pipe
from tiphys.main.cluster import Cluster

_END_SECONDS = 5.0


async def keep(cluster: Cluster, handler: Handler) -> None:
    """In the server: have the nodes until cancelled; `handler` answers them. Raises RuntimeError if they end."""
    ours, theirs = socket.socketpair()
    with theirs:
        words = ["-m", "tiphys.main.simulated", cluster.name, str(theirs.fileno())]
        child = await asyncio.create_subprocess_exec(
            sys.executable, *words, pass_fds=[theirs.fileno()], stdin=asyncio.subprocess.DEVNULL
        )
    pipe = Pipe(handler)
    await asyncio.get_running_loop().create_connection(lambda: pipe, sock=ours)
    try:
        await pipe.closed.wait()
    finally:
        await pipe.close()
        await _end(child)
    raise RuntimeError(f"the simulated nodes ended with code {child.returncode}")


async def _end(child: asyncio.subprocess.Process) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            await child.wait()
            return
    child.kill()
    await child.wait()


async def _run(cluster: Cluster, pair: socket.socket) -> None:
    """In the child, which alone needs to know of kubelets."""
    from tiphys.main.simulation import SimulatedNodes, simulate

    clock = SystemClock()
    pipe = Pipe(_refuse)
    await asyncio.get_running_loop().create_connection(lambda: pipe, sock=pair)

    def client_of(name: str) -> Client:
        user = User(f"system:node:{name}", groups=("system:nodes", "system:authenticated"))
        return Client(InProcess(pipe.ask, user, "kubelet"), manager="kubelet")

    wanted = SimulatedNodes(cluster.settings().simulated)
    nodes = asyncio.create_task(simulate(wanted, client_of, clock))
    collector.settle()
    try:
        await pipe.closed.wait()
    finally:
        nodes.cancel()
        await asyncio.wait([nodes])


async def _refuse(request: Request) -> Response:
    return Response(404)


def main() -> None:
    import uvloop

    name, descriptor = sys.argv[1:]
    log.setup("INFO")
    # The terminal interrupts the server, and that is enough.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    uvloop.run(_run(Cluster(name), socket.socket(fileno=int(descriptor))))


if __name__ == "__main__":
    main()
