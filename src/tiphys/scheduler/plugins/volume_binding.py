"""VolumeBinding: a pod goes where its volumes are, or can be made; its claims are bound before it is.

Source: https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiphys.api.errors import Conflict, Timeout
from tiphys.client.client import Client
from tiphys.kinds.core.affinity import NodeSelector
from tiphys.kinds.core.node_selector import selects
from tiphys.kinds.core.persistentvolume import PERSISTENT_VOLUMES, PersistentVolume
from tiphys.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from tiphys.kinds.core.volume_binding import SELECTED_NODE, bind_patch, is_bound, is_claimed_by, requested
from tiphys.scheduler.cluster import Cluster, Mask
from tiphys.scheduler.plugin import NODE_ADDED, NODE_CHANGED, POD_REMOVED, Plugin
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.topology import nodes_of, nodes_of_any, provisionable
from tiphys.scheduler.volumes import CLAIM_CHANGED, CLASS_CHANGED, DRIVER_CHANGED, VOLUME_CHANGED, Decision, Volumes

_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """By upstream's words, the nodes that have nothing of the kind against them."""

    parts: Mapping[str, Mask]

    @property
    def mask(self) -> Mask:
        mask: Mask = np.logical_and.reduce(list(self.parts.values()))
        return mask


class VolumeBinding(Plugin):
    name = "VolumeBinding"
    views = (Volumes,)
    retry_on = frozenset({
        NODE_ADDED, NODE_CHANGED, POD_REMOVED, CLAIM_CHANGED, VOLUME_CHANGED, CLASS_CHANGED, DRIVER_CHANGED,
    })  # fmt: skip

    def __init__(self) -> None:
        self._seconds = _SECONDS

    def configure(self, arguments: Mapping[str, Any]) -> None:
        """The `args` of a profile. Raises ValueError."""
        self._seconds = float(arguments.get("bindTimeoutSeconds", _SECONDS))

    def refuse(self, info: PodInfo, cluster: Cluster) -> str | None:
        if not info.claims:
            return None
        view = cluster.view(Volumes)
        for key, owned in info.claims:
            why = _problem(info, key, view.claims.get(key), owned=owned)
            if why:
                return why
        if any(not is_bound(claim) and not view.delayed(claim) for claim in _claims(info, view)):
            return "pod has unbound immediate PersistentVolumeClaims"
        return None

    def filter(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        return self._judge(info, cluster).mask if info.claims else None

    def reasons(self, info: PodInfo, cluster: Cluster, refused: Mask) -> Iterator[tuple[str, int]]:
        for text, mask in self._judge(info, cluster).parts.items():
            count = int((refused & ~mask).sum())
            if count:
                yield text, count

    def _judge(self, info: PodInfo, cluster: Cluster) -> Verdict:
        view, size = cluster.view(Volumes), len(cluster.rows)
        here, there, found, space = (np.ones(size, np.bool_) for _ in range(4))
        unbound = []
        for claim in _claims(info, view):
            if not is_bound(claim):
                unbound.append(claim)
                continue
            volume = view.volumes.get(claim.spec.volume_name)
            if volume is None:
                there[:] = False
            else:
                here &= _around(volume, cluster)
        used: dict[str, Mask] | None = {} if len(unbound) > 1 else None
        for claim in sorted(unbound, key=requested):
            unserved = _unserved(claim, cluster, used)
            if unserved.any():
                able, enough = provisionable(claim, cluster)
                found &= ~unserved | able
                space &= ~unserved | enough
        return Verdict({
            "node(s) didn't match PersistentVolume's node affinity": here,
            "node(s) didn't find available persistent volumes to bind": found,
            "node(s) did not have enough free storage": space,
            "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)": there,
        })  # fmt: skip

    def helps(self, info: PodInfo, event: str, subject: Any) -> bool:
        if isinstance(subject, PersistentVolumeClaim):
            return any(key == subject.metadata.key for key, _ in info.claims)
        if isinstance(subject, PersistentVolume):
            reference = subject.spec.claim_ref
            named = f"{reference.namespace}/{reference.name}" if reference is not None else ""
            return not named or any(key == named for key, _ in info.claims)
        return bool(info.claims)

    def reserve(self, info: PodInfo, node: str, cluster: Cluster) -> None:
        if not info.claims:
            return
        view, row = cluster.view(Volumes), cluster.row(node)
        unbound = [claim for claim in _claims(info, view) if not is_bound(claim)]
        if not unbound or row is None:
            return
        bindings: dict[str, str] = {}
        provisions = []
        for claim in sorted(unbound, key=requested):
            volume = _best(claim, cluster, row, set(bindings.values()))
            if volume is not None:
                bindings[claim.metadata.key] = volume.metadata.name
            else:
                provisions.append(claim.metadata.key)
        view.decide(info.key, Decision(node, bindings, tuple(provisions)))

    def unreserve(self, info: PodInfo, node: str, cluster: Cluster) -> None:
        if info.claims:
            cluster.view(Volumes).revoke(info.key)

    def pre_flight(self, info: PodInfo, node: str, cluster: Cluster) -> bool:
        return bool(info.claims) and info.key in cluster.view(Volumes).decisions

    async def pre_bind(self, info: PodInfo, node: str, cluster: Cluster, client: Client) -> None:
        view = cluster.view(Volumes)
        decision = view.decisions[info.key]
        try:
            await _write(decision, view, client)
            async with asyncio.timeout(self._seconds):
                while True:
                    decision.moved.clear()
                    if view.settled(decision):
                        break
                    await decision.moved.wait()
        except LookupError as error:
            raise Conflict(f"binding volumes: {error.args[0]}") from error
        except TimeoutError as error:
            waiting = ", ".join(key for key in decision.claims if not is_bound(view.claims[key]))
            raise Timeout(f"binding volumes: {waiting} not bound within {self._seconds:g} s") from error
        view.done(info.key)


def _claims(info: PodInfo, view: Volumes) -> Iterator[PersistentVolumeClaim]:
    for key, _ in info.claims:
        claim = view.claims.get(key)
        if claim is not None:
            yield claim


def _problem(info: PodInfo, key: str, claim: PersistentVolumeClaim | None, *, owned: bool) -> str:
    name = key.partition("/")[2]
    if claim is None:
        if owned:
            return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
        return f'persistentvolumeclaim "{name}" not found'
    if claim.status.phase == "Lost":
        return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim.spec.volume_name}"'
    if claim.metadata.deletion_timestamp:
        return f'persistentvolumeclaim "{name}" is being deleted'
    uid = info.pod.metadata.uid
    if owned and not any(held.uid == uid and held.controller for held in claim.metadata.owner_references):
        return f'PVC "{key}" was not created for pod "{info.key}" (pod is not owner)'
    return ""


def _around(volume: PersistentVolume, cluster: Cluster) -> Mask:
    """The nodes that have the volume."""
    return nodes_of(_required(volume), cluster)


def _required(volume: PersistentVolume) -> NodeSelector | None:
    return volume.spec.node_affinity.required if volume.spec.node_affinity is not None else None


def _unserved(claim: PersistentVolumeClaim, cluster: Cluster, used: dict[str, Mask] | None) -> Mask:
    """The nodes on which no volume that is there does for the claim; `used` is what claims before it take, where.

    Where the volume is being made or decided on already, all others are refused: no volume can be made there.
    """
    view = cluster.view(Volumes)
    kept = view.kept(claim)
    if kept is not None:
        return ~_around(kept, cluster)
    left = np.ones(len(cluster.rows), np.bool_)
    if view.selected(claim):
        return left
    if used is None:
        return ~nodes_of_any(map(_required, view.candidates(claim)), cluster)
    for volume in view.candidates(claim):
        free = left & _around(volume, cluster)
        taken = used.get(volume.metadata.name)
        if taken is not None:
            free &= ~taken
        used[volume.metadata.name] = free if taken is None else taken | free
        left &= ~free
        if not left.any():
            break
    return left


def _best(claim: PersistentVolumeClaim, cluster: Cluster, row: int, taken: set[str]) -> PersistentVolume | None:
    """The volume for the claim on one node; None where it has to be made."""
    view = cluster.view(Volumes)
    kept = view.kept(claim)
    if kept is not None or view.selected(claim):
        return kept
    entry = cluster.rows[row]
    assert entry is not None, "a chosen row has a node"
    for volume in view.candidates(claim):
        if volume.metadata.name not in taken and selects(_required(volume), entry.node):
            return volume
    return None


async def _write(decision: Decision, view: Volumes, client: Client) -> None:
    for key, name in decision.bindings.items():
        volume, claim = view.volumes.get(name), view.claims.get(key)
        if volume is None or claim is None or (volume.spec.claim_ref and not is_claimed_by(volume, claim)):
            continue
        patch = bind_patch(volume, claim)
        if patch is not None:
            await client.of(PERSISTENT_VOLUMES).patch(volume.metadata, patch)
    for key in decision.provisions:
        claim = view.claims.get(key)
        if claim is not None and claim.metadata.annotations.get(SELECTED_NODE) != decision.node:
            meta = {"resourceVersion": claim.metadata.resource_version, "annotations": {SELECTED_NODE: decision.node}}
            await client.of(PERSISTENT_VOLUME_CLAIMS).patch(claim.metadata, {"metadata": meta})
