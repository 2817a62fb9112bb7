"""Words that every front door shares: labels, names, hashes, and what must be known of a cluster. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

Json = dict[str, Any]

# On everything that is made: what it belongs to, and which service or app of it.
STACK = "tiphys.io/stack"
SERVICE = "tiphys.io/service"
# Annotations of workloads: what the watcher of a rollout does and from what share of failed pods on.
FAILURE_ACTION = "tiphys.io/update-failure-action"
MAX_FAILURE_RATIO = "tiphys.io/update-max-failure-ratio"
PUBLISHED = "tiphys.io/published-ports"
MODE = "tiphys.io/service-mode"
NODE_PORTS = range(30000, 32768)
# Ports of a node that are its own: the kubelet's.
RESERVED_PORTS = frozenset({10250})


@dataclass(frozen=True)
class Facts:
    """`addresses` are the nodes' IPv4 InternalIPs; `external` the bytes of what is called ("Secret" or "ConfigMap",
    NAME) and was not made by the file, None if there is none; `registry` is a dockerconfigjson, if there is to be one;
    `reserved` are ports that nodes need themselves."""

    addresses: tuple[str, ...] = ()
    external: Callable[[str, str], bytes | None] = lambda kind, name: None
    registry: bytes | None = None
    reserved: frozenset[int] = RESERVED_PORTS


def dns_name(text: str) -> str:
    """The nearest DNS label."""
    return re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")[:63].strip("-")


def digest(value: Any) -> str:
    """Eight characters that change when the value does; bytes, or anything JSON."""
    content = value if isinstance(value, bytes) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()[:8]


def literal(text: str) -> str:
    """A text in which the kubelet expands nothing."""
    return text.replace("$(", "$$(")


def without_empty(obj: Mapping[str, Any]) -> Json:
    """The entries that say something: None, empty lists and mappings are left out."""
    return {key: value for key, value in obj.items() if value is not None and value != [] and value != {}}


def published_services(
    name: str, ports: list[Json], selector: Json, addresses: tuple[str, ...]
) -> list[tuple[str, Json]]:
    """Names and specs of the Services by which ports are open on every node.

    A port is {"published": int or 0, "target": int, "protocol": "TCP"}. Those in the range of node ports, and those
    for which any will do (0), are node ports; others are ports of all nodes' addresses (`externalIPs`).
    """
    found = []
    high = [port for port in ports if not port["published"] or port["published"] in NODE_PORTS]
    low = [port for port in ports if port not in high]
    if high:
        spec_ports = [
            without_empty({
                "name": f"p{index}", "port": port["target"], "targetPort": port["target"],
                "protocol": port["protocol"], "nodePort": port["published"] or None,
            })
            for index, port in enumerate(_apart(high))
        ]  # fmt: skip
        found.append((f"{name}-node", {"type": "NodePort", "selector": selector, "ports": spec_ports}))
    if low:
        spec_ports = [
            {"name": f"p{port['published']}-{port['protocol'].lower()}", "port": port["published"],
             "targetPort": port["target"], "protocol": port["protocol"]}
            for port in low
        ]  # fmt: skip
        spec = {"selector": selector, "ports": spec_ports, "externalIPs": list(addresses)}
        found.append((f"{name}-published", spec))
    return found


def _apart(ports: list[Json]) -> list[Json]:
    """The same target may be published twice, but a Service's port numbers differ."""
    return list({(port["target"], port["protocol"]): port for port in ports}.values())
