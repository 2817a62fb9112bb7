"""Nodes inside this machine: each one's namespaces, and the bridge that joins them to each other and to the world.

The machine has the first address of the bridge's network: it is the nodes' way out and where they find the API server.
Everything made here is in the record of the first node, and `down` takes it back.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from tiphys.main.cluster import Cluster, ClusterError, Settings
from tiphys.main.node import forward, record_of
from tiphys.main.node_settings import NodeSettings, link_name, node_of
from tiphys.node import iproute, namespaces, netns, nft
from tiphys.node.namespaces import Inside

_MACHINE_ID = "/etc/machine-id"
_RESOLV_CONF, _RESOLVED = "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"
# Directories whose mounts belong to other nodes and clusters.
_FORGOTTEN = ("/run/tiphys", "/var/lib/tiphys", "/run/netns")


async def ensure(cluster: Cluster, settings: Settings, nodes: Sequence[NodeSettings]) -> None:
    """Make what is missing of the bridge and of the nodes' namespaces. May be repeated."""
    record = record_of(node_of(cluster, settings, 1))
    bridge, table = link_name("b", cluster.name), f"tiphys-{cluster.name}-nodes"
    record.add("link", bridge)
    record.add("nft_table", f"ip {table}")
    for node in nodes:
        record.add("netns", node.network_namespace)
        record.add("link", _plug(node))
        record.add("mount", str(node.pins))
    for node in nodes:
        # One by one: the first also makes the directory of names a mount, which two must not do at a time.
        await netns.create(node.network_namespace)
    await asyncio.gather(*(asyncio.to_thread(_pin, node) for node in nodes))
    own = iproute.hardware_address(bridge)
    lines = [] if iproute.exists(bridge) else [f"link add {bridge} address {own} type bridge"]
    lines.append(f"addr replace {settings.underlay[1]}/{settings.underlay.prefixlen} dev {bridge}")
    lines.append(f"link set {bridge} up")
    for node in nodes:
        if not iproute.exists(_plug(node)):
            lines.append(f"link add {_plug(node)} type veth peer name eth0 netns {node.network_namespace}")
        lines.append(f"link set {_plug(node)} master {bridge} up")
    await iproute.batch(lines)
    await asyncio.gather(*(_addresses(settings, node) for node in nodes))
    await asyncio.to_thread(forward)
    await nft.apply(_rules(table, str(settings.underlay), bridge))


def _pin(node: NodeSettings) -> None:
    """The namespaces of a node besides that of its network."""
    if namespaces.pinned(node.pins):
        return
    node.run.mkdir(parents=True, exist_ok=True, mode=0o755)
    files = _resolver()
    if Path(_MACHINE_ID).exists():
        own = node.run / "machine-id"
        own.write_text(_machine_id(node) + "\n")
        files[_MACHINE_ID] = str(own)
    namespaces.make(node.pins, Inside(node.name, _FORGOTTEN, files))


async def _addresses(settings: Settings, node: NodeSettings) -> None:
    lines = [
        f"addr replace {node.address}/{settings.underlay.prefixlen} dev eth0", "link set eth0 up",
        f"route replace default via {settings.underlay[1]}",
    ]  # fmt: skip
    await iproute.batch(lines, namespace=node.network_namespace)


def remove(cluster: Cluster, settings: Settings, node: NodeSettings) -> None:
    """Take back the namespaces of one node, and its link."""
    record = record_of(node_of(cluster, settings, 1))
    for kind, name in (("mount", str(node.pins)), ("link", _plug(node)), ("netns", node.network_namespace)):
        record.take_back(kind, name)


def enter(node: NodeSettings) -> None:
    """Move this process into a node's namespaces. Raises ClusterError where they are not there."""
    try:
        namespaces.enter(netns.path(node.network_namespace), node.pins)
    except FileNotFoundError as error:
        raise ClusterError(
            f"node {node.name} has no namespaces ({error.filename}); `tiphys up {node.cluster}` makes them"
        ) from None


def _machine_id(node: NodeSettings) -> str:
    """As long as a machine's and as lasting: software tells nodes apart by it."""
    machine = Path(_MACHINE_ID).read_text().strip()
    return hashlib.sha256(f"{machine}/{node.cluster}/{node.number}".encode()).hexdigest()[:32]


def _resolver() -> dict[str, str]:
    """A resolver on the machine's loopback cannot be reached from a node; what stands behind systemd's can."""
    place = Path(_RESOLV_CONF)
    if not place.exists() or not Path(_RESOLVED).exists():
        return {}
    servers = [line.split()[1] for line in place.read_text().splitlines() if line.startswith("nameserver ")]
    if not servers or not all(server.startswith(("127.", "::1")) for server in servers):
        return {}
    return {os.path.realpath(place): _RESOLVED}


def _plug(node: NodeSettings) -> str:
    """The machine's end of a node's link."""
    return link_name(str(node.number), node.cluster)


def _rules(table: str, underlay: str, bridge: str) -> str:
    """The nodes' way out."""
    return f"""\
add table ip {table}
delete table ip {table}
table ip {table} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {underlay} oifname != "{bridge}" masquerade
  }}
}}
"""
