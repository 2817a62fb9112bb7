"""What of a cluster's state does not hold on the machine that it is restored on, made to hold.

Nodes that are not among those of this machine are gone, and with them what only stood for them. Their pods: those that
a controller answers for are left out, so that it makes new ones; those that nobody would make again lose their node, to
be scheduled anew; those that have ended stay as a record. Leases of components and nodes are left out,
for whoever held them is dead. Where the cluster's networks are others here, addresses keep their place within them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from tiphys.store import Record

Json = dict[str, Any]
Network = ipaddress.IPv4Network
_NODES, _PODS = "/registry/core/nodes/", "/registry/core/pods/"
_SERVICES, _ADDRESSES = "/registry/core/services/", "/registry/networking.k8s.io/ipaddresses/"
_CSI_NODES, _ATTACHMENTS = "/registry/storage.k8s.io/csinodes/", "/registry/storage.k8s.io/volumeattachments/"
_LEASES = ("/registry/coordination.k8s.io/leases/kube-node-lease/", "/registry/coordination.k8s.io/leases/kube-system/")
_MIRROR = "kubernetes.io/config.mirror"


class _Spec(msgspec.Struct):
    nodeName: str = ""


class _Bound(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)


_bound = msgspec.json.Decoder(_Bound)


@dataclass(frozen=True, slots=True)
class Here:
    """`nodes` are the nodes that stay, None for all; `networks` maps old networks to ours where they differ."""

    nodes: Collection[str] | None
    networks: Mapping[Network, Network]


def records_for(here: Here, batches: Iterator[Sequence[Record]]) -> Iterator[Sequence[Record]]:
    """The records as they shall be here, in the order in which they came."""
    for batch in batches:
        found = [fitted for record in batch if (fitted := _fit(here, record)) is not None]
        if found:
            yield found


def _fit(here: Here, record: Record) -> Record | None:
    key = record.key
    if key.startswith(_LEASES):
        return None
    if here.nodes is not None:
        if key.startswith((_NODES, _CSI_NODES)):
            return _change(record, here, _renumber_node) if key.rpartition("/")[2] in here.nodes else None
        if key.startswith(_PODS):
            return _pod(here.nodes, record)
        if key.startswith(_ATTACHMENTS):
            attachment = orjson.loads(record.value)
            return record if (attachment.get("spec") or {}).get("nodeName") in here.nodes else None
    if here.networks and key.startswith(_NODES):
        return _change(record, here, _renumber_node)
    if here.networks and key.startswith(_SERVICES):
        return _change(record, here, _renumber_service)
    if here.networks and key.startswith(_ADDRESSES):
        return _renumber_address(record, here)
    return record


def _pod(nodes: Collection[str], record: Record) -> Record | None:
    node = _bound.decode(record.value).spec.nodeName
    if not node or node in nodes:
        return record
    pod: Json = orjson.loads(record.value)
    meta, status = pod["metadata"], pod.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed") and not meta.get("deletionTimestamp"):
        return record
    owned = any(owner.get("controller") for owner in meta.get("ownerReferences") or ())
    if owned or meta.get("deletionTimestamp") or _MIRROR in (meta.get("annotations") or {}):
        return None
    del pod["spec"]["nodeName"]
    pod["status"] = {"phase": "Pending", "qosClass": status.get("qosClass", "BestEffort")}
    return _replaced(record, pod)


def _change(record: Record, here: Here, change: Callable[[Json, Here], None]) -> Record:
    if not here.networks:
        return record
    obj: Json = orjson.loads(record.value)
    change(obj, here)
    return _replaced(record, obj)


def _renumber_node(node: Json, here: Here) -> None:
    spec = node.get("spec") or {}
    if "podCIDR" in spec:
        spec["podCIDR"] = _moved_network(spec["podCIDR"], here)
    if "podCIDRs" in spec:
        spec["podCIDRs"] = [_moved_network(network, here) for network in spec["podCIDRs"]]


def _renumber_service(service: Json, here: Here) -> None:
    spec = service.get("spec") or {}
    if "clusterIP" in spec:
        spec["clusterIP"] = _moved(spec["clusterIP"], here)
    if "clusterIPs" in spec:
        spec["clusterIPs"] = [_moved(address, here) for address in spec["clusterIPs"]]


def _renumber_address(record: Record, here: Here) -> Record:
    place, _, address = record.key.rpartition("/")
    moved = _moved(address, here)
    obj: Json = orjson.loads(record.value)
    obj["metadata"]["name"] = moved
    found = _replaced(record, obj)
    return Record(f"{place}/{moved}", found.value, found.revision, found.created)


def _moved(address: str, here: Here) -> str:
    """The address at the same place in the network that we have instead; what is no address stays."""
    try:
        given = ipaddress.IPv4Address(address)
    except ValueError:
        return address
    for old, new in here.networks.items():
        if given in old:
            return str(new[int(given) - int(old.network_address)])
    return address


def _moved_network(network: str, here: Here) -> str:
    address, _, length = network.partition("/")
    return f"{_moved(address, here)}/{length}"


def _replaced(record: Record, obj: Json) -> Record:
    return Record(record.key, orjson.dumps(obj), record.revision, record.created)
