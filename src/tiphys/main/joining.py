"""What `tiphys agent --server` and `tiphys server --join` do before they run: join, once, and note what the machine is.

Afterwards the machine has a cluster like any other: `tiphys up` starts its processes, `down` ends them.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

from tiphys.main import etcd
from tiphys.main.cluster import Cluster, ClusterError, Settings, clusters, host_address
from tiphys.main.cluster_facts import ClusterFacts
from tiphys.main.join import Joined, join_control_plane, join_worker, joined
from tiphys.main.node_settings import node_of
from tiphys.main.pki import Pki


@dataclass(frozen=True, slots=True)
class Invitation:
    """`name` and `address` are "" for what the machine says of itself."""

    url: str
    token: str
    name: str = ""
    address: str = ""

    @property
    def node(self) -> str:
        return self.name or socket.gethostname().lower()

    @property
    def reached_at(self) -> str:
        return self.address or host_address()


def worker(cluster: Cluster, invitation: Invitation) -> None:
    """Make this machine a node of another's cluster, unless it is. Raises ClusterError."""
    _check(cluster, invitation)
    found = asyncio.run(
        join_worker(
            invitation.url, invitation.token, cluster, name=invitation.node, address=invitation.reached_at
        )
    )  # fmt: skip
    _settle(cluster, found)


def control_plane(cluster: Cluster, invitation: Invitation) -> None:
    """Make this machine a control plane of another's cluster, unless it is. Raises ClusterError."""
    _check(cluster, invitation)
    found = asyncio.run(
        join_control_plane(
            invitation.url, invitation.token, cluster, name=invitation.node, address=invitation.reached_at
        )
    )  # fmt: skip
    settings = _settle(cluster, found)
    ensure_certificates(cluster, settings)
    node = node_of(cluster, settings, 1)
    if not etcd.data(node).exists():
        etcd.join_through(node, found.facts.servers)


def ensure_certificates(cluster: Cluster, settings: Settings) -> None:
    """The certificates of a machine that has the cluster's CAs."""
    from tiphys.main.node_settings import nodes_of
    from tiphys.main.up import addresses, leaves

    nodes = nodes_of(cluster, settings)
    others = {etcd.CA: etcd.leaves(addresses(settings, nodes))} if settings.store == "etcd" else None
    Pki(cluster.pki).ensure(cluster.name, leaves(settings, nodes), others)


def _check(cluster: Cluster, invitation: Invitation) -> None:
    if cluster.exists and joined(cluster) is None:
        raise ClusterError(
            f"this machine has a cluster {cluster.name!r} of its own; give the one that it joins another name here "
            f"with --cluster, or `tiphys down {cluster.name} --purge` first"
        )
    if not invitation.token and joined(cluster) is None:
        raise ClusterError("--token is missing: `tiphys token create` on a control plane prints the whole command")


def _settle(cluster: Cluster, found: Joined) -> Settings:
    """Write what this machine is, where it is not written yet."""
    if cluster.exists:
        return cluster.settings()
    settings = _settings(cluster.name, found, found.facts)
    for other in clusters():
        if other.name != cluster.name and other.settings().index == settings.index:
            raise ClusterError(
                f"cluster {other.name!r} on this machine uses the same networks ({settings.pods}, {settings.services}) "
                "as the one that it is to join; `tiphys down` that one with --purge first"
            )
    cluster.save(settings)
    return settings


def _settings(name: str, found: Joined, facts: ClusterFacts) -> Settings:
    return Settings(
        name=name, index=facts.index, api_port=facts.api_port, kubelet_port=facts.kubelet_port, address=found.address,
        node=found.name, control_planes=int(found.control_plane), servers=facts.servers, store=facts.store,
        etcd_port=facts.etcd_port, virtual_address=facts.virtual_address, joined=True,
    )  # fmt: skip
