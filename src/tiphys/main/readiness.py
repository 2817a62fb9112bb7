"""Waiting until what was started on this machine does its work: servers that serve, nodes that are Ready."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from tiphys.main.cluster import Cluster, ClusterError
from tiphys.main.node_settings import NodeSettings
from tiphys.main.pki import Pki

if TYPE_CHECKING:
    from tiphys.client.client import Client

_READY_SECONDS = 60.0


async def wait_ready(cluster: Cluster, nodes: Sequence[NodeSettings], *, simulated: Sequence[str] = ()) -> None:
    """Wait for every server of ours, then watch the nodes until all of ours are Ready, or instead those simulated."""
    planes = [node for node in nodes if node.control_plane]
    missing = set(simulated) or {node.name for node in nodes}
    try:
        async with asyncio.timeout(_READY_SECONDS):
            if len(planes) > 1:
                await asyncio.gather(*(_wait_serving(cluster, node, nodes) for node in planes))
            servers = list(nodes[0].servers)
            await _until(cluster, servers, nodes, lambda client: _all_ready(client, missing))
    except TimeoutError:
        raise TimeoutError(
            f"not Ready after {_READY_SECONDS:.0f} s: {', '.join(sorted(missing))}; see {cluster.logs}"
        ) from None


async def _wait_serving(cluster: Cluster, node: NodeSettings, nodes: Sequence[NodeSettings]) -> None:
    async def serves(client: Client) -> bool:
        return await client.transport.send("GET", "/readyz") == b"ok"

    await _until(cluster, [node.url], nodes, serves)


async def _until(
    cluster: Cluster,
    servers: Sequence[str],
    nodes: Sequence[NodeSettings],
    attempt: Callable[[Client], Awaitable[bool]],
) -> None:
    """Try again until it is true, as long as our processes run. Raises ClusterError where one has ended."""
    from tiphys.api.errors import ApiError
    from tiphys.base.backoff import Backoff
    from tiphys.client.client import Client
    from tiphys.client.http import Https
    from tiphys.client.transport import Unreachable

    tls = Pki(cluster.pki).client_tls("admin" if nodes[0].control_plane else nodes[0].client)
    client = Client(Https(servers, tls, agent="tiphys-up"), manager="tiphys-up")
    backoff, failures = Backoff(0.02, 0.2, 1.3), 0
    try:
        while True:
            _check_alive(nodes)
            try:
                if await attempt(client):
                    return
            except ApiError as error:
                # A server that has its store not yet, or a store that is only starting.
                if error.code < 500:
                    raise
            except Unreachable:
                pass
            await asyncio.sleep(backoff.delay(failures))
            failures += 1
    finally:
        await client.close()


async def _all_ready(client: Client, missing: set[str]) -> bool:
    """Strike off `missing` who is Ready until nobody is left; False where the watch ended before."""
    import msgspec

    from tiphys.kinds.core.node import NODES, Node

    query = {"fieldSelector": f"metadata.name={next(iter(missing))}"} if len(missing) == 1 else {}
    async with client.of(NODES).watch(**query) as events:
        async for _, data in events:
            node = msgspec.json.decode(data, type=Node)
            if node.ready:
                missing.discard(node.metadata.name)
            if not missing:
                return True
    return False


def _check_alive(nodes: Sequence[NodeSettings]) -> None:
    from tiphys.node import process

    # etcd is its server's business.
    for role, node in ((role, each) for each in nodes for role in each.roles if role != "etcd"):
        what, pidfile, log = f"{role} of {node.name}", node.pidfile(role), node.log(role)
        if process.load(pidfile) is None:
            # The frame that Python draws around groups of exceptions says nothing.
            said = [line.strip(" |") for line in log.read_text(errors="replace").splitlines() if line.strip(" |+-")]
            last = said[-1] if said else "it wrote nothing"
            raise ClusterError(f"the {what} ended while starting ({last}); see {log}")
