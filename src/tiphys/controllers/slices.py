"""EndpointSlices brought to what they should hold, with the fewest writes. Pure, but for `write`.

Slices of one address type and one set of ports form a group. Endpoints stay in the slice that they are in; what is new
fills slices that are written anyway, then the rooms of others, then new slices.
Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#distribution-of-endpointslices
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from tiphys.api.errors import NotFound
from tiphys.api.resource import Json
from tiphys.client.client import ResourceClient
from tiphys.kinds.discovery.endpointslice import Endpoint, EndpointSlice, SlicePort

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
HEADLESS = "service.kubernetes.io/headless"
ROOM = 100
Ports = tuple[SlicePort, ...]
Group = tuple[str, Ports]


@dataclass(slots=True)
class SlicePlan:
    """`create` holds the groups' new slices; `update` pairs a slice with what it should hold."""

    create: list[tuple[Group, list[Endpoint]]] = field(default_factory=list)
    update: list[tuple[EndpointSlice, Ports, list[Endpoint]]] = field(default_factory=list)
    delete: list[EndpointSlice] = field(default_factory=list)


def group_of(each: EndpointSlice) -> Group:
    return each.address_type, tuple(sorted(each.ports, key=_port_order))


def ordered(ports: Iterable[SlicePort]) -> Ports:
    return tuple(sorted(ports, key=_port_order))


def _port_order(port: SlicePort) -> tuple[str, int, str]:
    return port.name, port.port or 0, port.protocol


def _group_key(group: Group) -> tuple[object, ...]:
    """Models with strings are no dictionary keys by themselves."""
    kind, ports = group
    return (kind, *((port.name, port.port, port.protocol, port.app_protocol) for port in ports))


def _identity(endpoint: Endpoint) -> str:
    return endpoint.target_ref.uid if endpoint.target_ref is not None else endpoint.addresses[0]


def plan(
    existing: Sequence[EndpointSlice], wanted: Sequence[tuple[Group, list[Endpoint]]], labels: Mapping[str, str]
) -> SlicePlan:
    """`wanted` has one entry a group, with all endpoints of it; an empty list stands for an empty slice."""
    planned = SlicePlan()
    held: dict[tuple[object, ...], list[EndpointSlice]] = defaultdict(list)
    for each in existing:
        held[_group_key(group_of(each))].append(each)
    for group, endpoints in wanted:
        _fill(planned, held.pop(_group_key(group), []), group, endpoints, labels)
    planned.delete += [each for slices in held.values() for each in slices]
    _recycle(planned)
    return planned


def _fill(
    planned: SlicePlan, slices: list[EndpointSlice], group: Group, endpoints: list[Endpoint], labels: Mapping[str, str]
) -> None:
    missing = {_identity(endpoint): endpoint for endpoint in endpoints}
    contents: list[tuple[EndpointSlice, list[Endpoint], bool]] = []
    for each in slices:
        kept = [missing.pop(_identity(held)) for held in each.endpoints if _identity(held) in missing]
        contents.append((each, kept, kept != each.endpoints or each.metadata.labels != labels))
    rest = list(missing.values())
    # Those that are written anyway take the new ones first, the fullest before the others.
    contents.sort(key=lambda entry: (not entry[2], -len(entry[1])))
    last = len(contents)
    for each, kept, changed in contents:
        room = max(ROOM - len(kept), 0)
        if rest and (changed or len(rest) <= room) and room:
            kept, rest, changed = kept + rest[:room], rest[room:], True
        if not kept and (last > 1 or endpoints):
            planned.delete.append(each)
            last -= 1
        elif changed:
            planned.update.append((each, group[1], kept))
    while rest or (not last and not endpoints):
        planned.create.append((group, rest[:ROOM]))
        rest, last = rest[ROOM:], 1


def _recycle(planned: SlicePlan) -> None:
    """A slice that goes while one of its type comes is written over instead: watchers see no gap."""
    for group, endpoints in list(planned.create):
        old = next((each for each in planned.delete if each.address_type == group[0]), None)
        if old is not None:
            planned.delete.remove(old)
            planned.create.remove((group, endpoints))
            planned.update.append((old, group[1], endpoints))


async def write(client: ResourceClient[EndpointSlice], planned: SlicePlan, meta: Json) -> None:
    """Carry the plan out; `meta` is the metadata of new slices, its labels and annotations those of all."""
    for each, ports, endpoints in planned.update:
        gone = {label: None for label in each.metadata.labels if label not in meta["labels"]}
        patch = {
            "metadata": {"uid": each.metadata.uid, "labels": {**meta["labels"], **gone}},
            "endpoints": msgspec.to_builtins(endpoints), "ports": msgspec.to_builtins(ports),
        }  # fmt: skip
        try:
            await client.patch(each.metadata, patch)
        except NotFound:
            # Its removal is an event of its own, which brings the missing endpoints back.
            continue
    for (kind, ports), endpoints in planned.create:
        made = {
            "metadata": meta, "addressType": kind,
            "endpoints": msgspec.to_builtins(endpoints), "ports": msgspec.to_builtins(ports),
        }  # fmt: skip
        await client.create(made)
    for each in planned.delete:
        try:
            await client.delete(each.metadata)
        except NotFound:
            continue
