"""DynamicResources: pods whose claims ask for devices go where there are such, and get them for themselves.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from tiphys.client.client import Client
from tiphys.kinds.core.affinity import NodeSelector
from tiphys.kinds.core.node_selector import term_matches
from tiphys.kinds.resource.resourceclaim import MOST_CONSUMERS, RESOURCE_CLAIMS, ResourceClaim
from tiphys.scheduler.cluster import Cluster, Mask, Scores
from tiphys.scheduler.devices import binding_conditions, claim_writes
from tiphys.scheduler.devices.extended import ExtendedClaim, extended_claim, patterns, wanted_names
from tiphys.scheduler.devices.results import allocation
from tiphys.scheduler.devices.shapes import Shape
from tiphys.scheduler.devices.view import (
    CLAIM_CHANGED,
    CLASS_CHANGED,
    DEVICES_FREED,
    SLICE_CHANGED,
    Devices,
    Unavailable,
)
from tiphys.scheduler.devices.wanted import class_names
from tiphys.scheduler.plugin import NODE_ADDED, NODE_CHANGED, POD_REMOVED, Plugin
from tiphys.scheduler.pod import PodInfo

ELSEWHERE = "resourceclaim not available on the node"


class DynamicResources(Plugin):
    name = "DynamicResources"
    weight = 2.0
    retry_on = frozenset({
        NODE_ADDED, NODE_CHANGED, POD_REMOVED, CLAIM_CHANGED, DEVICES_FREED, CLASS_CHANGED, SLICE_CHANGED,
    })  # fmt: skip
    views = (Devices,)

    def pre_enqueue(self, info: PodInfo, cluster: Cluster) -> bool:
        return not info.pod.spec.resource_claims or not cluster.view(Devices).waits_for_template(info.pod)

    def refuse(self, info: PodInfo, cluster: Cluster) -> str | None:
        view = cluster.view(Devices)
        if not _concerns(info, view):
            return None
        try:
            claims = view.of(info.pod)
        except Unavailable as unavailable:
            return str(unavailable)
        return next((why for claim in claims if (why := _hindrance(claim, info, view)) is not None), None)

    def filter(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        view = cluster.view(Devices)
        if not _concerns(info, view):
            return None
        allocated, missing = _sorted(info, view)
        mask = _reached(allocated, cluster)
        found: Mask = np.zeros(len(mask), np.bool_)
        for shape, rows in _shapes(info, missing, cluster):
            found |= rows & shape.mask(cluster, view.inventory, view.used) if shape is not None else rows
        return mask & found

    def reasons(self, info: PodInfo, cluster: Cluster, refused: Mask) -> Iterator[tuple[str, int]]:
        allocated, missing = _sorted(info, cluster.view(Devices))
        elsewhere = refused & ~_reached(allocated, cluster)
        if elsewhere.any():
            yield ELSEWHERE, int(elsewhere.sum())
        for shape, rows in _shapes(info, missing, cluster):
            rest = refused & rows & ~elsewhere
            if shape is not None and rest.any():
                yield from shape.reasons(rest).items()

    def score(self, info: PodInfo, cluster: Cluster) -> Scores | None:
        """More for nodes that give the alternatives which the claims name first."""
        if not info.pod.spec.resource_claims:
            return None
        _, missing = _sorted(info, cluster.view(Devices))
        ranks: Scores = np.zeros(len(cluster.rows))
        for shape, rows in _shapes(info, missing, cluster):
            found = shape.ranks() if shape is not None else None
            if found is not None:
                ranks += np.where(rows, found, 0.0)
        best = float(ranks.max())
        return ranks * (100.0 / best) if best else None

    def helps(self, info: PodInfo, event: str, subject: Any) -> bool:
        """A claim's change helps the pods that use it, unless devices were freed."""
        if event == POD_REMOVED:
            # One that is not bound after all, perhaps.
            return bool(subject.pod.spec.resource_claims) or any("/" in name for name in subject.requests)
        if event != CLAIM_CHANGED:
            return True
        meta, pod = subject.metadata, info.pod
        names = {pod.claim_name(each) for each in pod.spec.resource_claims}
        return bool(meta.namespace == pod.metadata.namespace and meta.name in names)

    def reserve(self, info: PodInfo, node: str, cluster: Cluster) -> None:
        view, row = cluster.view(Devices), cluster.row(node)
        if row is None or not _concerns(info, view):
            return
        allocated, missing = _sorted(info, view)
        for claim in allocated:
            view.join(claim, info.key)
        extended = _extended(info, row, cluster)
        if not missing and extended is None:
            return
        grants = view.shape(missing, extended).grants(row, view.used) or ()
        for claim, granted in zip(missing, grants, strict=False):
            view.reserve(claim, info.key, allocation(claim.spec, granted, view.classes, node))
        if extended is not None and grants:
            view.reserve_extended(info.key, extended, allocation(extended.spec, grants[-1], view.classes, node))

    def unreserve(self, info: PodInfo, node: str, cluster: Cluster) -> None:
        cluster.view(Devices).unreserve(info.key)

    def pre_flight(self, info: PodInfo, node: str, cluster: Cluster) -> bool:
        return _concerns(info, cluster.view(Devices))

    async def pre_bind(self, info: PodInfo, node: str, cluster: Cluster, client: Client) -> None:
        view = cluster.view(Devices)
        claims = _known(info, view)
        for claim in claims:
            if not _reserved(claim, info):
                await claim_writes.reserve(claim, info, view, client)
        row = cluster.row(node)
        if row is not None and wanted_names(info, view.backed):
            await claim_writes.extend(info, _extended(info, row, cluster, again=True), view, client)
        made = view.made_for(info.pod)
        await binding_conditions.ready([*claims, *([made] if made is not None else [])], view, client)

    async def post_filter(self, info: PodInfo, cluster: Cluster, client: Client) -> None:
        """Have a claim allocated anew that nobody else uses and that is out of reach for some nodes."""
        view = cluster.view(Devices)
        for claim in _known(info, view):
            if claim.metadata.uid in view.pending:
                continue
            others = any(each.uid != info.pod.metadata.uid for each in claim.status.reserved_for)
            if claim.status.allocation is None or others or _reached([claim], cluster)[cluster.live].all():
                continue
            meta = claim.metadata
            patch = {
                "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
                "status": {"allocation": None, "reservedFor": None},
            }  # fmt: skip
            await client.of(RESOURCE_CLAIMS).patch(meta, patch, subresource="status")
            return


def _hindrance(claim: ResourceClaim, info: PodInfo, view: Devices) -> str | None:
    """Why no node would do because of the claim."""
    pending = view.pending.get(claim.metadata.uid)
    joining = pending.pods - {info.key} if pending is not None else ()
    if len(claim.status.reserved_for) + len(joining) >= MOST_CONSUMERS and not _reserved(claim, info):
        return "resourceclaim in use"
    if claim.status.allocation is not None or pending is not None:
        return None
    for request, name in class_names(claim.spec):
        if name not in view.classes:
            return f"request {request}: device class {name} does not exist"
    return None


def _concerns(info: PodInfo, view: Devices) -> bool:
    return bool(info.pod.spec.resource_claims) or (bool(view.backed) and bool(wanted_names(info, view.backed)))


def _shapes(
    info: PodInfo, missing: list[ResourceClaim], cluster: Cluster
) -> Iterator[tuple[Shape | None, Mask]]:  # fmt: skip
    """What has to be allocated on which rows; None where nothing has."""
    view = cluster.view(Devices)
    names = wanted_names(info, view.backed) if not _made(info, view) else ()
    if not names:
        yield view.shape(missing) if missing else None, np.ones(len(cluster.rows), np.bool_)
        return
    for lacking, rows in patterns(names, cluster):
        extended = extended_claim(info.pod, lacking, view.backed) if lacking else None
        yield view.shape(missing, extended) if missing or extended is not None else None, rows


def _made(info: PodInfo, view: Devices) -> bool:
    """Whether the pod has devices for its extended resources from an attempt before."""
    claim = view.made_for(info.pod)
    return claim is not None and view.allocation(claim) is not None


def _extended(info: PodInfo, row: int, cluster: Cluster, *, again: bool = False) -> ExtendedClaim | None:
    """The claim for what the row has not of the pod's extended resources; `again`: also if there is one already."""
    view = cluster.view(Devices)
    names = wanted_names(info, view.backed)
    if not names or (_made(info, view) and not again):
        return None
    lacking = next((lacking for lacking, rows in patterns(names, cluster) if rows[row]), ())
    return extended_claim(info.pod, lacking, view.backed) if lacking else None


def _known(info: PodInfo, view: Devices) -> list[ResourceClaim]:
    """The pod's claims, none if one of them is not to be had."""
    try:
        return view.of(info.pod)
    except Unavailable:
        return []


def _sorted(info: PodInfo, view: Devices) -> tuple[list[ResourceClaim], list[ResourceClaim]]:
    """The pod's claims that have something, and those that are to get it."""
    claims = _known(info, view)
    allocated = [claim for claim in claims if view.allocation(claim) is not None]
    return allocated, [claim for claim in claims if view.allocation(claim) is None]


def _reserved(claim: ResourceClaim, info: PodInfo) -> bool:
    return any(each.uid == info.pod.metadata.uid for each in claim.status.reserved_for)


def _reached(claims: list[ResourceClaim], cluster: Cluster) -> Mask:
    """The rows from which all these claims' devices are reached."""
    mask: Mask = np.ones(len(cluster.rows), np.bool_)
    for claim in claims:
        found = cluster.view(Devices).allocation(claim)
        if found is not None and found.node_selector is not None:
            mask &= _selected(found.node_selector, cluster)
    return mask


def _selected(selector: NodeSelector, cluster: Cluster) -> Mask:
    terms = selector.node_selector_terms
    if len(terms) == 1 and len(terms[0].match_fields) == 1 and not terms[0].match_expressions:
        mask = np.zeros(len(cluster.rows), np.bool_)
        rows = (cluster.row(name) for name in terms[0].match_fields[0].values)
        mask[[row for row in rows if row is not None]] = True
        return mask
    key = ("devices", msgspec.json.encode(selector))
    return cluster.where(key, lambda node: any(term_matches(term, node) for term in terms))
