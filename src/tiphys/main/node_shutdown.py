"""`tiphys node shutdown`: the machine goes down, so its nodes end their pods in order. For a systemd unit's ExecStop.

SIGPWR asks an agent to; it ends once that is done. SIGTERM, which a restart sends, leaves the pods as they are.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable

from tiphys.main import keep
from tiphys.main.cluster import Cluster, ClusterError
from tiphys.main.node_settings import NodeSettings, nodes_of
from tiphys.node import process

REQUEST = signal.SIGPWR


async def shut_down(cluster: Cluster, name: str = "") -> list[str]:
    """End the pods of the nodes of a cluster on this machine, or of one; the nodes whose agents ran.

    Returns when the agents have ended, which their own grace periods limit.
    """
    nodes = [node for node in nodes_of(cluster, cluster.settings()) if name in ("", node.name)]
    if not nodes:
        raise ClusterError(f"cluster {cluster.name!r} has no node {name!r} on this machine; `tiphys status` lists them")
    keep.pause(cluster)
    return await _all(nodes)


async def _all(nodes: Iterable[NodeSettings]) -> list[str]:
    running = {node.name: found for node in nodes if (found := process.load(node.pidfile("agent"))) is not None}
    for found in running.values():
        found.signal(REQUEST)
    await asyncio.gather(*(found.wait() for found in running.values()))
    return list(running)
