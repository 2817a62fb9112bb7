"""Ports as nftables: what the table of a node's Services holds. Pure.

A packet is matched by one look-up in a map from (address, protocol, port) to the chain of its Service port, so its cost
does not grow with the number of Services. Source: KEP-3866
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from tiphys.node.nft_state import State
from tiphys.proxy.plan import Backend, Port

# Set on packets that must leave with the node's address, so that the answers come back through it.
_MASQUERADE = "0x4000"


@dataclass(frozen=True, slots=True)
class Setting:
    """What every rule needs to know: the table's name, the cluster's pods, and the interface they hang on."""

    table: str
    pods: str
    bridge: str


def state_of(ports: Iterable[Port]) -> State:
    state = State(elements={name: {} for name in ("services", "nodeports", "refused", "hairpins", "used")})
    for port in ports:
        _add(state, port)
    return state


def _add(state: State, port: Port) -> None:
    digest = hashlib.sha256(f"{port.name}/{port.protocol}".encode()).hexdigest()[:12]
    inside, outside = f"svc-{digest}", f"ext-{digest}"
    target = f"{port.cluster_ip} . {port.protocol} . {port.port}"
    if port.backends:
        state.elements["services"][target] = f"goto {inside}"
        _balance(state, inside, digest, port, port.backends)
    else:
        state.elements["refused"][target] = "goto refuse"
    for address, _ in {*port.backends, *port.external}:
        state.elements["hairpins"][f"{address} . {address}"] = ""
        if port.counter:
            state.elements["used"][address] = f'"{port.counter}"'
    if port.counter:
        state.counters.add(port.counter)
    if not port.node_port and not port.addresses:
        return
    if port.external:
        _external(state, outside, digest, port)
    limited = outside
    if port.external and port.balanced and port.sources:
        limited = f"lb-{digest}"
        state.chains[limited] = (f"ip saddr != {{ {', '.join(port.sources)} }} drop", f"goto {outside}")
    for address in port.addresses:
        chain = limited if address in port.balanced else outside
        _point(state, f"{address} . {port.protocol} . {port.port}", "services", chain, port)
    if port.node_port:
        _point(state, f"{port.protocol} . {port.node_port}", "nodeports", outside, port)


def _point(state: State, element: str, table: str, chain: str, port: Port) -> None:
    if port.external:
        state.elements[table][element] = f"goto {chain}"
    elif table == "services":
        state.elements["refused"][element] = "goto refuse"


def _external(state: State, chain: str, digest: str, port: Port) -> None:
    """Traffic from outside takes the node's address on its way to a pod that may be elsewhere."""
    rules = []
    if not port.local:
        rules.append(f"meta mark set meta mark or {_MASQUERADE}")
    if port.external == port.backends:
        rules.append(f"goto svc-{digest}")
        state.chains[chain] = tuple(rules)
        return
    _balance(state, chain, f"x{digest}", port, port.external)
    state.chains[chain] = (*rules, *state.chains[chain])


def _balance(state: State, chain: str, digest: str, port: Port, backends: tuple[Backend, ...]) -> None:
    if port.affinity:
        _balance_sticky(state, chain, digest, port, backends)
        return
    if len(backends) == 1:
        address, number = backends[0]
        state.chains[chain] = (f"meta l4proto {port.protocol} dnat to {address}:{number}",)
        return
    choices = ", ".join(f"{index} : {address} . {number}" for index, (address, number) in enumerate(backends))
    state.chains[chain] = (
        f"meta l4proto {port.protocol} dnat ip to numgen random mod {len(backends)} map {{ {choices} }}",
    )


def _balance_sticky(state: State, chain: str, digest: str, port: Port, backends: tuple[Backend, ...]) -> None:
    """Clients return to the endpoint that served them, each endpoint remembering its clients in a set."""
    remembered, choices = [], []
    for index, (address, number) in enumerate(backends):
        # With the timeout, which a set cannot change.
        name = hashlib.sha256(f"{digest}/{address}/{number}/{port.affinity}".encode()).hexdigest()[:12]
        state.sets[f"aff-{name}"] = (
            f"type ipv4_addr; flags dynamic,timeout; timeout {port.affinity}s; size 65536;"
        )  # fmt: skip
        state.chains[f"ep-{name}"] = (
            f"update @aff-{name} {{ ip saddr }}", f"meta l4proto {port.protocol} dnat to {address}:{number}",
        )  # fmt: skip
        remembered.append(f"ip saddr @aff-{name} goto ep-{name}")
        choices.append(f"{index} : goto ep-{name}")
    state.chains[chain] = (*remembered, f"numgen random mod {len(backends)} vmap {{ {', '.join(choices)} }}")


def table(setting: Setting) -> str:
    """The script that makes the table anew, without any Service."""
    name = f"ip {setting.table}"
    lookup = "ip daddr . meta l4proto . th dport"
    return f"""\
add table {name}
delete table {name}
table {name} {{
  map services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map nodeports {{ type inet_proto . inet_service : verdict; }}
  map refused {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  set hairpins {{ type ipv4_addr . ipv4_addr; }}
  map used {{ type ipv4_addr : counter; }}
  chain refuse {{ meta l4proto tcp reject with tcp reset; reject; }}
  chain find {{
    {lookup} vmap @services
    ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto . th dport vmap @nodeports
  }}
  chain prerouting {{ type nat hook prerouting priority dstnat; policy accept; jump find; }}
  chain output {{ type nat hook output priority -100; policy accept; jump find; }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    meta mark and {_MASQUERADE} != 0 masquerade
    ip saddr . ip daddr @hairpins masquerade
    ip saddr {setting.pods} ip daddr != {setting.pods} oifname != "{setting.bridge}" masquerade
  }}
  chain use {{ type filter hook postrouting priority filter; ct status dnat counter name ip daddr map @used; }}
  chain forward {{ type filter hook forward priority filter; policy accept; {lookup} vmap @refused; }}
  chain local {{ type filter hook output priority filter; policy accept; {lookup} vmap @refused; }}
}}
"""
