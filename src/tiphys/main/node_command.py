"""`tiphys node remove`: take a node out of a cluster for good, be it alive or dead, on this machine or elsewhere.

A control plane's member of etcd goes first: a dead one that stays counts against the quorum.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
from collections.abc import Sequence

import msgspec

from tiphys.api.errors import ApiError, NotFound
from tiphys.api.meta import ObjectMeta
from tiphys.base.clock import SystemClock
from tiphys.main.cluster import DEFAULT_NAME, Cluster, ClusterError, Settings
from tiphys.main.node_settings import NodeSettings, nodes_of
from tiphys.main.progress import Progress


def node(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("tiphys node", description="The nodes of a cluster.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    remove = verbs.add_parser(
        "remove", help="take a node out for good; drain it first if its pods should move in order"
    )
    remove.add_argument("node", help="its name, as `tiphys get nodes` shows it")
    remove.add_argument("name", nargs="?", default=DEFAULT_NAME, help="the cluster (default: %(default)s)")
    down = verbs.add_parser("shutdown", help="the machine goes down: end the pods of its nodes in order")
    down.add_argument("--node", default="", help="only this one of the nodes on this machine")
    down.add_argument(
        "--if-stopping", action="store_true", help="only if systemd says that the machine goes down; for its units"
    )
    down.add_argument("name", nargs="?", default=DEFAULT_NAME, help="the cluster (default: %(default)s)")
    options = parser.parse_args(arguments)
    return _shutdown(options) if options.verb == "shutdown" else _remove_one(options)


def _shutdown(options: argparse.Namespace) -> int:
    from tiphys.main import service
    from tiphys.main.node_shutdown import shut_down

    progress = Progress()
    if options.if_stopping and not service.machine_stops():
        return 0
    try:
        names = asyncio.run(shut_down(Cluster(options.name), options.node))
    except (ClusterError, OSError) as error:
        progress.fail(str(error))
        return 1
    progress.done(f"the pods of {', '.join(names) or 'no node'} have ended")
    return 0


def _remove_one(options: argparse.Namespace) -> int:
    progress = Progress()
    try:
        if os.geteuid() != 0:
            raise ClusterError("`tiphys node remove` needs root; run it with sudo")
        cluster = Cluster(options.name)
        with cluster.locked():
            asyncio.run(_remove(cluster, options.node))
    except (ClusterError, OSError) as error:
        progress.fail(str(error))
        return 1
    progress.done(f"node {options.node} is out of cluster {options.name}")
    return 0


async def _remove(cluster: Cluster, name: str) -> None:
    from tiphys.main.etcd import Etcd

    settings = cluster.settings()
    nodes = nodes_of(cluster, settings)
    if name == nodes[0].name:
        raise ClusterError(f"{name} is this machine itself; `tiphys down {cluster.name}` ends the cluster here")
    ours = next((node for node in nodes if node.name == name), None)
    if settings.store == "etcd":
        await Etcd(nodes[0], SystemClock()).remove(name)
    if ours is not None:
        await _end(cluster, settings, ours)
    await _delete(cluster, nodes[0], name, known=ours is not None)


async def _end(cluster: Cluster, settings: Settings, node: NodeSettings) -> None:
    """End what runs of a node in namespaces and remove all that it was."""
    from tiphys.main import machine
    from tiphys.main.down import end
    from tiphys.main.node import undo

    await end(*(node.pidfile(role) for role in ("agent", "server", "etcd")))
    await undo(node, purge=True)
    await asyncio.to_thread(machine.remove, cluster, settings, node)
    for directory in (node.run, node.state):
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
    cluster.save(msgspec.structs.replace(settings, removed=sorted([*settings.removed, node.number])))


async def _delete(cluster: Cluster, first: NodeSettings, name: str, *, known: bool) -> None:
    from tiphys.client.client import Client
    from tiphys.client.http import Https
    from tiphys.client.transport import Unreachable
    from tiphys.kinds.core.node import NODES
    from tiphys.main.pki import Pki

    tls = Pki(cluster.pki).client_tls("admin")
    client = Client(Https(list(first.servers), tls, agent="tiphys-node"), manager="tiphys-node")
    try:
        await client.of(NODES).delete(ObjectMeta(name=name))
    except NotFound:
        if not known:
            raise ClusterError(
                f"cluster {cluster.name!r} has no node {name!r}; `tiphys get nodes` lists them"
            ) from None
    except (ApiError, Unreachable) as error:
        raise ClusterError(f"cannot delete node {name!r}: {error}") from error
    finally:
        await client.close()
