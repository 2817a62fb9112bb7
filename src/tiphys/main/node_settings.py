"""What an agent is told: its node, the networks of the cluster, and the way to the API server.

Nothing in it assumes that the server, or another node, is on the same machine.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from tiphys.main.cluster import Cluster, Settings
from tiphys.node import cni

# Ports below those that the kernel gives to clients, and not flannel's 8472: a machine may have that too.
_FIRST_VNI, _FIRST_TUNNEL_PORT = 4200, 14200
# Of VXLAN over IPv4: outer IP 20, UDP 8, VXLAN 8, inner Ethernet 14.
_ETHERNET_MTU, _OVERHEAD = 1500, 50


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """`servers` are URLs; `state` and `run` the node's own directories; `client` and `serving` certificates in `pki`.

    `number` counts the cluster's nodes on this machine from 1; all but the first live in namespaces of their own.
    A control plane runs a server too, and a member of etcd where the state is kept there.
    """

    cluster: str
    number: int
    name: str
    address: str
    port: int
    servers: tuple[str, ...]
    pki: Path
    client: str
    serving: str
    state: Path
    run: Path
    logs: Path
    cgroup_root: str
    pods: ipaddress.IPv4Network
    services: ipaddress.IPv4Network
    dns: str
    vni: int
    tunnel_port: int
    control_plane: bool
    agent: bool
    api_port: int
    etcd_port: int

    @property
    def roles(self) -> list[str]:
        """What runs there of ours."""
        kept = ["etcd"] if self.etcd_port else []
        return (["server", *kept] if self.control_plane else []) + (["agent"] if self.agent else [])

    def pidfile(self, role: str) -> Path:
        """Of `agent`, `server` or `etcd`."""
        return self.run / f"{role}.pid"

    def log(self, role: str) -> Path:
        return self.logs / (f"{role}-{self.number}.log" if self.number > 1 else f"{role}.log")

    @property
    def url(self) -> str:
        """Of a control plane's server, as others reach it."""
        return f"https://{self.address}:{self.api_port}"

    @property
    def pins(self) -> Path:
        """Where the node's mount and UTS namespaces are pinned; unused by a first node."""
        return self.run / "ns"

    @property
    def network_namespace(self) -> str:
        """The name of the node's network namespace; "" for the machine's own."""
        return f"tiphys-{self.cluster}-{self.number}" if self.number > 1 else ""

    @property
    def mtu(self) -> int:
        """Of pods, so that what they send fits into the overlay's packets."""
        return _ETHERNET_MTU - _OVERHEAD

    @property
    def bridge(self) -> str:
        """The link that the node's pods hang on."""
        return cni.bridge_name(self.cluster)

    @property
    def tunnel(self) -> str:
        """The link to other nodes' pods."""
        return link_name("x", self.cluster)


def link_name(role: str, cluster: str) -> str:
    """A link of one cluster on this machine, short enough for an interface name (15 bytes)."""
    return f"tph{role}-{hashlib.sha256(cluster.encode()).hexdigest()[:8]}"


def node_of(cluster: Cluster, settings: Settings, number: int) -> NodeSettings:
    """The node with a number, from 1, of a cluster on this machine."""
    first = number == 1
    below = Path() if first else Path("nodes", str(number))
    suffix = "" if first else f"-{number}"
    return NodeSettings(
        cluster=cluster.name,
        number=number,
        name=settings.node if first else _name(settings, number),
        address=settings.address if first else str(settings.underlay[number]),
        port=settings.kubelet_port,
        servers=_servers(settings, number),
        pki=cluster.pki,
        client=f"agent{suffix}",
        serving=f"kubelet{suffix}",
        state=cluster.state / below,
        run=cluster.run / below,
        logs=cluster.logs,
        cgroup_root=f"/tiphys-{cluster.name}" + ("" if first else f"/nodes/{number}"),
        pods=settings.pods,
        services=settings.services,
        dns=settings.dns,
        vni=_FIRST_VNI + settings.index,
        tunnel_port=_FIRST_TUNNEL_PORT + settings.index,
        control_plane=number <= settings.control_planes,
        agent=not settings.simulated,
        api_port=settings.api_port,
        etcd_port=settings.etcd_port,
    )


def _servers(settings: Settings, number: int) -> tuple[str, ...]:
    """The API servers' URLs for one node: its own first, and not the same one first for all others."""
    own = ["127.0.0.1"] if number == 1 and settings.control_planes else []
    # The machine has the first address of the network of its nodes.
    addresses = [str(settings.underlay[plane]) for plane in settings.planes]
    if addresses:
        turn = (number - 1) % len(addresses)
        addresses = addresses[turn:] + addresses[:turn]
        own = own + addresses[1:] if own else addresses
    return (*(f"https://{address}:{settings.api_port}" for address in own), *settings.servers)


def nodes_of(cluster: Cluster, settings: Settings) -> list[NodeSettings]:
    """Every node of a cluster on this machine, the first first."""
    return [node_of(cluster, settings, number) for number in settings.numbers]


def _name(settings: Settings, number: int) -> str:
    name = f"{settings.name}-{number}"
    return f"{name}-node" if name == settings.node else name
