"""Isolations as nftables: a map leads from a pod's address to the chain of what may pass; all else is dropped.

A packet costs two look-ups however many pods and policies there are, and only the first of a connection goes further.
What passes between a pod and its own node is not forwarded, and so is always allowed.
Source: https://wiki.nftables.org/
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.networkpolicy.plan import Allowed, Block, Isolated, Isolation
from tiphys.node.nft_state import State


def table(name: str) -> str:
    """The script that makes the table anew, without any policy."""
    return f"""\
add table ip {name}
delete table ip {name}
table ip {name} {{
  map egress {{ type ipv4_addr : verdict; }}
  map ingress {{ type ipv4_addr : verdict; }}
  set selves {{ type ipv4_addr . ipv4_addr; }}
  chain forward {{
    type filter hook forward priority filter - 10; policy accept;
    ct state established,related accept
    ip saddr . ip daddr @selves accept
    ip saddr vmap @egress
    ip daddr vmap @ingress
  }}
}}
"""


def state_of(isolated: Isolated) -> State:
    state = State(elements={"egress": {}, "ingress": {}, "selves": {}})
    for place, found in (("egress", isolated.egress), ("ingress", isolated.ingress)):
        for address, isolation in found.items():
            chain = f"{place}-{isolation.name}"
            state.elements[place][address] = f"jump {chain}"
            state.elements["selves"][f"{address} . {address}"] = ""
            if chain not in state.chains:
                peer = "ip daddr" if place == "egress" else "ip saddr"
                state.chains[chain] = (*_rules(state, isolation, peer), "drop")
    return state


def _rules(state: State, isolation: Isolation, peer: str) -> Iterator[str]:
    for allowed in isolation.allowed:
        for who in _who(state, allowed, peer):
            for ports in _ports(state, allowed):
                yield " ".join(filter(None, (who, ports, "return")))


def _who(state: State, allowed: Allowed, peer: str) -> Iterator[str]:
    if allowed.everybody:
        yield ""
        return
    if allowed.addresses:
        name = f"peers-{allowed.name}"
        state.sets[name] = "type ipv4_addr;"
        state.elements[name] = dict.fromkeys(sorted(allowed.addresses), "")
        yield f"{peer} @{name}"
    for block in allowed.blocks:
        yield _within(block, peer)


def _within(block: Block, peer: str) -> str:
    inside = f"{peer} {block.network}" if block.network.prefixlen else ""
    outside = f"{peer} != {{ {', '.join(map(str, block.holes))} }}" if block.holes else ""
    return " ".join(filter(None, (inside, outside)))


def _ports(state: State, allowed: Allowed) -> Iterator[str]:
    if allowed.every_port:
        yield ""
        return
    for protocol, ranges in allowed.ports.items():
        if ranges == ((0, 65535),):
            yield f"meta l4proto {protocol}"
            continue
        numbers = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
        yield f"{protocol} dport {{ {numbers} }}"
    if allowed.named:
        name = f"named-{allowed.name}"
        state.sets[name] = "type ipv4_addr . inet_proto . inet_service;"
        found = sorted(f"{address} . {protocol} . {port}" for address, protocol, port in allowed.named)
        state.elements[name] = dict.fromkeys(found, "")
        yield f"ip daddr . meta l4proto . th dport @{name}"
