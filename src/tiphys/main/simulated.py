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
from http import HTTPStatus

import orjson

from tiphys.api import errors
from tiphys.api.http import Handler, Request, Response, User
from tiphys.api.resource import Json
from tiphys.base import collector, log
from tiphys.base.clock import SystemClock
from tiphys.client.client import Client
from tiphys.client.inprocess import InProcess
from tiphys.client.pipe import Pipe
from tiphys.main.cluster import Cluster

_END_SECONDS = 5.0
_SUMMARY = "/stats/summary"


class Nodes:
    """In the server: have the nodes, and ask them; `handler` answers them."""

    def __init__(self, cluster: Cluster, handler: Handler) -> None:
        self._cluster, self._handler = cluster, handler
        self._pipe: Pipe | None = None

    async def keep(self) -> None:
        """Until cancelled. Raises RuntimeError if they end."""
        ours, theirs = socket.socketpair()
        with theirs:
            words = ["-m", "tiphys.main.simulated", self._cluster.name, str(theirs.fileno())]
            child = await asyncio.create_subprocess_exec(
                sys.executable, *words, pass_fds=[theirs.fileno()], stdin=asyncio.subprocess.DEVNULL
            )
        pipe = self._pipe = Pipe(self._handler)
        await asyncio.get_running_loop().create_connection(lambda: pipe, sock=ours)
        try:
            await pipe.closed.wait()
        finally:
            await pipe.close()
            await _end(child)
        raise RuntimeError(f"the simulated nodes ended with code {child.returncode}")

    async def summary(self, node: str) -> Json:
        """A node's /stats/summary. Raises ApiError."""
        if self._pipe is None or self._pipe.closed.is_set():
            raise errors.ServiceUnavailable("the simulated nodes do not run yet")
        answer = await self._pipe.ask(Request("GET", _SUMMARY, {"node": [node]}))
        if answer.status != HTTPStatus.OK:
            raise errors.ServiceUnavailable(f"there is no simulated node {node}")
        found: Json = orjson.loads(answer.body)
        return found


async def _end(child: asyncio.subprocess.Process) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            await child.wait()
            return
    child.kill()
    await child.wait()


async def _run(cluster: Cluster, pair: socket.socket) -> None:
    """In the child, which alone needs to know of kubelets."""
    from tiphys.main.simulation import SimulatedNodes, Simulation, behaviours

    async def answer(request: Request) -> Response:
        if request.path != _SUMMARY:
            return Response(HTTPStatus.NOT_FOUND)
        try:
            return Response(body=orjson.dumps(await simulation.summary(request.param("node"))))
        except errors.ApiError as error:
            return Response(error.code)

    clock, settings = SystemClock(), cluster.settings()
    pipe = Pipe(answer)
    await asyncio.get_running_loop().create_connection(lambda: pipe, sock=pair)

    def client_of(name: str) -> Client:
        user = User(f"system:node:{name}", groups=("system:nodes", "system:authenticated"))
        return Client(InProcess(pipe.ask, user, "kubelet"), manager="kubelet")

    wanted = SimulatedNodes(settings.simulated, behaviours=behaviours(settings.simulation))
    simulation = Simulation(wanted, client_of, clock)
    nodes = asyncio.create_task(simulation.run())
    collector.settle()
    try:
        await pipe.closed.wait()
    finally:
        nodes.cancel()
        await asyncio.wait([nodes])


def main() -> None:
    import uvloop

    name, descriptor = sys.argv[1:]
    log.setup("INFO")
    # The terminal interrupts the server, and that is enough.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    uvloop.run(_run(Cluster(name), socket.socket(fileno=int(descriptor))))


if __name__ == "__main__":
    main()
