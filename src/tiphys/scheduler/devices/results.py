"""An allocation as a claim's status has it: the devices, their configuration, and the nodes that reach them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tiphys.api.quantity import BINARY_SI, Quantity
from tiphys.api.resource import Json
from tiphys.kinds.resource.deviceclass import DeviceClass
from tiphys.kinds.resource.requests import ResourceClaimSpec
from tiphys.scheduler.devices.allocator import Grant


def allocation(
    spec: ResourceClaimSpec, grants: Sequence[Grant], classes: Mapping[str, DeviceClass], node: str
) -> Json:  # fmt: skip
    """The `status.allocation` of a claim that was satisfied on `node`."""
    found: Json = {"devices": {"results": [_result(grant) for grant in grants]}}
    configurations = [*_of_classes(grants, classes), *_of_claim(spec, grants)]
    if configurations:
        found["devices"]["config"] = configurations
    selector = _selector(grants, node)
    if selector is not None:
        found["nodeSelector"] = selector
    return found


def _result(grant: Grant) -> Json:
    driver, pool, device = grant.device.id
    result: Json = {"request": grant.ask.name, "driver": driver, "pool": pool, "device": device}
    if grant.ask.admin:
        result["adminAccess"] = True
    if grant.ask.tolerations:
        result["tolerations"] = msgspec.to_builtins(list(grant.ask.tolerations))
    if grant.device.spec.binding_conditions:
        result["bindingConditions"] = grant.device.spec.binding_conditions
        result["bindingFailureConditions"] = grant.device.spec.binding_failure_conditions
    if grant.amounts is not None:
        result["shareID"] = str(uuid.uuid4())
        result["consumedCapacity"] = {
            name: str(Quantity(amount, BINARY_SI)) for name, amount in grant.amounts.items()
        }  # fmt: skip
    return result


def _of_classes(grants: Sequence[Grant], classes: Mapping[str, DeviceClass]) -> list[Json]:
    requests: dict[str, list[str]] = {}
    for grant in grants:
        names = requests.setdefault(grant.ask.class_, [])
        if grant.ask.name not in names:
            names.append(grant.ask.name)
    return [
        {"source": "FromClass", "requests": names, "opaque": each.opaque}
        for name, names in requests.items() for each in classes[name].spec.config
    ]  # fmt: skip


def _of_claim(spec: ResourceClaimSpec, grants: Sequence[Grant]) -> list[Json]:
    """Those for requests or alternatives that were chosen; without requests one is for all."""
    chosen = {name for grant in grants for name in (grant.ask.name, grant.ask.request)}
    return [
        {"source": "FromClaim", **({"requests": each.requests} if each.requests else {}), "opaque": each.opaque}
        for each in spec.devices.config if not each.requests or chosen.intersection(each.requests)
    ]  # fmt: skip


def _selector(grants: Sequence[Grant], node: str) -> Json | None:
    """The nodes that reach all the devices: one, those that every selector matches, or any (None)."""
    places = [grant.device.place for grant in grants]
    if any(place.node for place in places) or any(grant.device.spec.binds_to_node for grant in grants):
        only = {"key": "metadata.name", "operator": "In", "values": [node]}
        return {"nodeSelectorTerms": [{"matchFields": [only]}]}
    term: dict[str, list[Any]] = {}
    for place in {place.key: place for place in places}.values():
        for wanted in place.selector.node_selector_terms if place.selector is not None else ():
            for field, rules in msgspec.to_builtins(wanted).items():
                term.setdefault(field, []).extend(rule for rule in rules if rule not in term.get(field, ()))
    return {"nodeSelectorTerms": [term]} if term else None
