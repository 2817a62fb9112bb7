"""What a node's VXLAN device must know of the other nodes, from their Node objects; and the changes. Pure.

Every node is known by three entries: a route of its pods' range through the range's first address, the hardware address
of that "gateway", and where frames for that hardware address are sent. Nothing is learned from the network and nothing
need be announced: a device's hardware address follows from its node's name.
https://datatracker.ietf.org/doc/html/rfc7348
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tiphys.kinds.core.node import Node


@dataclass(frozen=True, slots=True)
class Setting:
    """`address` is where other nodes reach this one; `mtu` the pods' own; `vni` and `port` are the cluster's.

    `table` is the name of the nftables table that lets in packets of nodes only.
    """

    node: str
    address: str
    device: str
    vni: int
    mtu: int
    port: int
    table: str


@dataclass(frozen=True, slots=True)
class State:
    """Entries of one device: pods' range -> gateway, gateway -> hardware address, hardware address -> node."""

    routes: Mapping[str, str] = field(default_factory=dict)
    neighbours: Mapping[str, str] = field(default_factory=dict)
    forwards: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Changes:
    """Commands for iproute2's `ip` and `bridge`: new ways are known before they are used, old ones unused before they
    are forgotten, so `ip_before`, `bridge`, `ip_after` are to be run in this order."""

    ip_before: list[str] = field(default_factory=list)
    bridge: list[str] = field(default_factory=list)
    ip_after: list[str] = field(default_factory=list)


def hardware_address(node: str) -> str:
    """The hardware address of a node's device: locally administered, unicast."""
    digest = bytearray(hashlib.sha256(b"tiphys-vtep/" + node.encode()).digest()[:6])
    digest[0] = digest[0] & 0xFC | 0x02
    return digest.hex(":")


def gateway(cidr: str) -> str:
    """The address of a node's device: the first of its pods' range, which no pod gets."""
    return str(ipaddress.ip_network(cidr)[0])


def ranges(node: Node) -> list[str]:
    """The IPv4 ranges of a node's pods."""
    return [cidr for cidr in node.spec.pod_cidrs or filter(None, [node.spec.pod_cidr]) if ":" not in cidr]


def wanted(nodes: Iterable[Node], own: str) -> State:
    """The entries for all nodes but our own; nodes without a range or an address are not reachable yet."""
    routes, neighbours, forwards = {}, {}, {}
    for node in nodes:
        address = node.address()
        if node.metadata.name == own or not address or ":" in address:
            continue
        mac = hardware_address(node.metadata.name)
        for cidr in ranges(node):
            via = gateway(cidr)
            routes[cidr], neighbours[via], forwards[mac] = via, mac, address
    return State(routes, neighbours, forwards)


def changes(device: str, old: State, new: State) -> Changes:
    """The commands that lead from `old` to `new`; entries that stay are not touched."""
    routes_gone = [f"route del {cidr} dev {device}" for cidr in _gone(old.routes, new.routes)]
    neighbours_gone = [f"neigh del {ip} dev {device}" for ip in _gone(old.neighbours, new.neighbours)]
    return Changes(
        [
            *routes_gone,
            *(f"neigh replace {ip} lladdr {mac} dev {device} nud permanent"
              for ip, mac in _come(old.neighbours, new.neighbours)),
        ],
        [
            *(f"fdb del {mac} dev {device} dst {old.forwards[mac]}" for mac in _gone(old.forwards, new.forwards)),
            *(f"fdb replace {mac} dev {device} dst {ip} self permanent"
              for mac, ip in _come(old.forwards, new.forwards)),
        ],
        [
            *neighbours_gone,
            *(f"route replace {cidr} via {via} dev {device} onlink" for cidr, via in _come(old.routes, new.routes)),
        ],
    )  # fmt: skip


def _gone(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    return (key for key in old if key not in new)


def _come(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((key, value) for key, value in new.items() if old.get(key) != value)


def guard(setting: Setting, state: State) -> str:
    """The nftables script that drops what comes from nobody: VXLAN packets carry nothing that proves who sent them."""
    table, nodes = f"ip {setting.table}", ", ".join(sorted({setting.address, *state.forwards.values()}))
    return f"""\
add table {table}
delete table {table}
table {table} {{
  chain prerouting {{
    type filter hook prerouting priority raw; policy accept;
    udp dport {setting.port} ip saddr != {{ {nodes} }} drop
  }}
}}
"""
