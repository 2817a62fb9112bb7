"""Pods, namespaces and policies in a few words."""

from __future__ import annotations

from typing import Any

import msgspec

from tiphys.kinds.core.namespace import Namespace
from tiphys.kinds.networking.networkpolicy import NetworkPolicy
from tiphys.networkpolicy.peers import Peer

Json = dict[str, Any]
A, B, C = {"pod": "a"}, {"pod": "b"}, {"pod": "c"}


def pod(space: str, name: str, address: str, node: str = "one", **more: Any) -> Peer:
    """Named after the value of its label `pod`; it has the named ports web (80/TCP) and names (53/UDP)."""
    ports = [{"name": "web", "containerPort": 80}, {"name": "names", "containerPort": 53, "protocol": "UDP"}]
    found = {
        "metadata": {"name": name, "namespace": space, "uid": f"{space}-{name}", "labels": {"pod": name}},
        "spec": {"nodeName": node, "containers": [{"ports": ports}]},
        "status": {"phase": "Running", "podIPs": [{"ip": address}] if address else []},
    }
    for part, fields in more.items():
        found[part] |= fields
    return msgspec.convert(found, Peer)


def namespace(name: str) -> Namespace:
    return msgspec.convert({"metadata": {"name": name, "labels": {"ns": name}}}, Namespace)


def policy(space: str, name: str, chosen: Json, **spec: Any) -> NetworkPolicy:
    """`ingress` and `egress` are rules; a direction that is given is enforced."""
    types = [word.capitalize() for word in ("ingress", "egress") if word in spec]
    selector = {"matchLabels": chosen} if chosen else {}
    found = {
        "metadata": {"name": name, "namespace": space},
        "spec": {"podSelector": selector, "policyTypes": types, **spec},
    }
    return msgspec.convert(found, NetworkPolicy)


def pods_of(labels: Json) -> Json:
    return {"podSelector": {"matchLabels": labels}}


def spaces_of(name: str) -> Json:
    return {"namespaceSelector": {"matchLabels": {"ns": name}}}


ADDRESSES = {f"{space}/{name}": f"10.42.{row}.{column}" for row, space in enumerate("xyz")
             for column, name in enumerate("abc", 2)}  # fmt: skip
PODS = [pod(*key.split("/"), address) for key, address in ADDRESSES.items()]
NAMESPACES = [namespace(name) for name in "xyz"]
