"""What `tiphys why` says of pods whose claims cannot be satisfied: what is wrong, and what would mend it."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.kinds.core.node_selector import term_matches
from tiphys.kinds.resource.resourceclaim import MOST_CONSUMERS, ResourceClaim
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.devices.effort import Effort
from tiphys.scheduler.devices.extended import extended_claim, patterns, wanted_names
from tiphys.scheduler.devices.inventory import ANYWHERE, Device, Part
from tiphys.scheduler.devices.view import Devices, Unavailable
from tiphys.scheduler.devices.wanted import Ask, class_names, wanted
from tiphys.scheduler.pod import PodInfo

_NAMED = 3


def of_refusal(info: PodInfo, cluster: Cluster) -> str:
    """What would have to be there for any node to do; "" if it is not the claims."""
    view, pod = cluster.view(Devices), info.pod
    for each in pod.spec.resource_claims:
        name = pod.claim_name(each)
        if name is None:
            return f"a ResourceClaimTemplate {each.resource_claim_template_name}, of which the pod's claim is made"
        if name and f"{pod.metadata.namespace}/{name}" not in view.claims:
            return f"a ResourceClaim {name} in the namespace {pod.metadata.namespace}"
    try:
        claims = view.of(pod)
    except Unavailable:
        return "a claim that is not on its way out, and the pod's own if it is made for a pod"
    for claim in claims:
        if len(claim.status.reserved_for) >= MOST_CONSUMERS:
            return f"a claim of its own: {MOST_CONSUMERS} pods share {claim.metadata.key} already"
        for _, name in class_names(claim.spec):
            if name not in view.classes:
                return f"a DeviceClass {name}"
    return ""


def of_node(info: PodInfo, cluster: Cluster, row: int) -> Iterator[tuple[str, str]]:
    """(what is wrong with the node, what would mend it), for a pod that is refused there because of its claims."""
    view = cluster.view(Devices)
    claims = view.of(info.pod)
    for claim in claims:
        if claim.status.allocation is not None and not _reaches(claim, cluster, row):
            why = f"does not reach the devices that claim {claim.metadata.key} has got"
            yield why, "a claim of its own, or the end of the pods that use this one"
            return
    parts = list(_seen(cluster, row))
    specs = [claim.spec for claim in claims if claim.status.allocation is None]
    for lacking, rows in patterns(wanted_names(info, view.backed), cluster):
        if rows[row] and lacking:
            specs.append(extended_claim(info.pod, lacking, view.backed).spec)
    for spec in specs:
        for asks in wanted(spec, view.classes).requests:
            found = [_shortage(ask, parts, view) for ask in asks]
            if found and None not in found:
                yield found[-1] or ("", "")
                return
    yield "has devices, but not such as satisfy all requests and constraints together", "a claim that asks for less"


def _shortage(ask: Ask, parts: list[Part], view: Devices) -> tuple[str, str] | None:
    """What is wrong for one request; None if there are enough devices for it alone."""
    devices, effort = [device for part in parts for device in part.devices], Effort()
    matching = [device for device in devices if ask.selects(device, effort) is True]
    free = [device for device in matching if device.id not in view.used or device.shared or ask.admin]
    count = max(len(matching), 1) if ask.all else ask.count
    if len(free) >= count:
        return None
    asked = f"request {ask.name} asks for {_counted(count, ask)}"
    if not devices:
        return f"has no devices, {asked}", "a driver that publishes some for it"
    if len(matching) < count:
        why = f"has {len(matching)} that would do, {asked}"
        return why, f"selectors or tolerations that more of its {len(devices)} devices fit, or a smaller count"
    holders = sorted(_holders(matching, view))
    names = ", ".join(holders[:_NAMED]) + (", ..." if len(holders) > _NAMED else "")
    why = f"has {len(matching) - len(free)} of {_counted(len(matching), ask)} in use"
    return why, f"the end of {names} would free {'one' if count == 1 else 'some'}" if names else "more devices"


def _counted(count: int, ask: Ask) -> str:
    return f"{count} device{'s' * (count != 1)} of class {ask.class_}"


def _holders(devices: list[Device], view: Devices) -> set[str]:
    """The keys of the pods that have any of the devices."""
    ids = {device.id for device in devices}
    return {
        f"{claim.metadata.namespace}/{user.name}"
        for claim in view.claims.values() if claim.status.allocation is not None
        if any((each.driver, each.pool, each.device) in ids for each in claim.status.allocation.devices.results)
        for user in claim.status.reserved_for
    }  # fmt: skip


def _seen(cluster: Cluster, row: int) -> Iterator[Part]:
    inventory, entry = cluster.view(Devices).inventory, cluster.rows[row]
    assert entry is not None, "only rows with nodes are looked at"
    yield from inventory.local(entry.node.metadata.name)
    for part in inventory.elsewhere():
        terms = part.place.selector.node_selector_terms if part.place.selector is not None else []
        if part.place == ANYWHERE or any(term_matches(term, entry.node) for term in terms):
            yield part


def _reaches(claim: ResourceClaim, cluster: Cluster, row: int) -> bool:
    allocation, entry = claim.status.allocation, cluster.rows[row]
    assert entry is not None, "only rows with nodes are looked at"
    if allocation is None or allocation.node_selector is None:
        return True
    return any(term_matches(term, entry.node) for term in allocation.node_selector.node_selector_terms)
