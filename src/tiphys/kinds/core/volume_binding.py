"""Which PersistentVolume may serve a claim: the rules that the binder and the scheduler share, and their annotations.

Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#binding
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tiphys.api.quantity import Quantity, parse
from tiphys.api.resource import Json
from tiphys.api.selectors import EVERYTHING, LabelSelector, from_object
from tiphys.kinds.core.persistentvolume import PersistentVolume
from tiphys.kinds.core.persistentvolumeclaim import PersistentVolumeClaim

BIND_COMPLETED, BOUND_BY_CONTROLLER = "pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY, SELECTED_NODE = "pv.kubernetes.io/provisioned-by", "volume.kubernetes.io/selected-node"
# Provisioners of old look at the second.
STORAGE_PROVISIONER = (
    "volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner",
)  # fmt: skip
_CLASS = "volume.beta.kubernetes.io/storage-class"
ONE_POD = "ReadWriteOncePod"


def class_of(obj: PersistentVolume | PersistentVolumeClaim) -> str:
    """The name of its StorageClass, which the annotation of old gives first; "" for none."""
    named = obj.metadata.annotations.get(_CLASS)
    return named if named is not None else obj.spec.storage_class_name or ""


def has_class(claim: PersistentVolumeClaim) -> bool:
    """Whether a claim says which class it wants, be it none at all."""
    return claim.spec.storage_class_name is not None or _CLASS in claim.metadata.annotations


def requested(claim: PersistentVolumeClaim) -> Quantity:
    return parse(claim.spec.resources.requests.get("storage") or "0")


def capacity(volume: PersistentVolume) -> Quantity:
    return parse(volume.spec.capacity.get("storage") or "0")


def is_bound(claim: PersistentVolumeClaim) -> bool:
    """Whether both sides of the binding are written."""
    return bool(claim.spec.volume_name) and BIND_COMPLETED in claim.metadata.annotations


def is_claimed_by(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether the volume is the claim's or, named by its user, kept for it."""
    reference, meta = volume.spec.claim_ref, claim.metadata
    if reference is None or (reference.namespace, reference.name) != (meta.namespace, meta.name):
        return False
    return reference.uid in ("", meta.uid)


def mismatch(volume: PersistentVolume, claim: PersistentVolumeClaim) -> str:
    """Why a volume that the claim names does not do, in upstream's words; "" if it does."""
    if capacity(volume) < requested(claim):
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if volume.spec.volume_mode != claim.spec.volume_mode:
        return "incompatible volumeMode"
    if not set(claim.spec.access_modes) <= set(volume.spec.access_modes):
        return "incompatible accessMode"
    return ""


def selector_of(claim: PersistentVolumeClaim) -> LabelSelector:
    if claim.spec.selector is None:
        return EVERYTHING
    return from_object(msgspec.to_builtins(claim.spec.selector))


def is_free(volume: PersistentVolume) -> bool:
    gone = volume.metadata.deletion_timestamp is not None
    return volume.spec.claim_ref is None and volume.status.phase == "Available" and not gone


def fitting(claim: PersistentVolumeClaim, volumes: Iterable[PersistentVolume]) -> list[PersistentVolume]:
    """The free volumes that would do, the best first: of the fewest access modes, then the smallest."""
    selector, class_, size = selector_of(claim), class_of(claim), requested(claim)
    modes, mode = set(claim.spec.access_modes), claim.spec.volume_mode
    found = [
        volume for volume in volumes
        if is_free(volume) and volume.spec.volume_mode == mode and modes.issubset(volume.spec.access_modes)
        and not capacity(volume) < size and class_of(volume) == class_ and selector.matches(volume.metadata.labels)
    ]  # fmt: skip
    return sorted(found, key=_order)


def kept_for(claim: PersistentVolumeClaim, volumes: Iterable[PersistentVolume]) -> PersistentVolume | None:
    """The volume that says itself that it is the claim's, if it is large enough."""
    kept = [
        volume for volume in volumes
        if is_claimed_by(volume, claim) and not volume.metadata.deletion_timestamp
        and volume.spec.volume_mode == claim.spec.volume_mode and capacity(volume) >= requested(claim)
    ]  # fmt: skip
    return min(kept, key=_order, default=None)


def _order(volume: PersistentVolume) -> tuple[int, int, str]:
    return len(volume.spec.access_modes), capacity(volume).nanos, volume.metadata.name


def claim_reference(claim: PersistentVolumeClaim) -> Json:
    """The `claimRef` of a volume that is bound to the claim."""
    meta = claim.metadata
    return {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": meta.namespace, "name": meta.name,
        "uid": meta.uid, "resourceVersion": meta.resource_version,
    }  # fmt: skip


def bind_patch(volume: PersistentVolume, claim: PersistentVolumeClaim) -> Json | None:
    """What of a volume changes, as a merge patch, for it to be the claim's; None where it is already."""
    reference = volume.spec.claim_ref
    if reference is not None and is_claimed_by(volume, claim) and reference.uid:
        return None
    meta: dict[str, Any] = {"resourceVersion": volume.metadata.resource_version}
    if reference is None or not is_claimed_by(volume, claim):
        meta["annotations"] = {BOUND_BY_CONTROLLER: "yes"}
    return {"metadata": meta, "spec": {"claimRef": claim_reference(claim)}}


def names_of(pod: Any) -> Sequence[tuple[str, bool]]:
    """(claim, whether it is an ephemeral volume's) for each claim that a pod uses, in the pod's namespace."""
    found = []
    for volume in pod.spec.volumes:
        if volume.persistent_volume_claim is not None:
            found.append((volume.persistent_volume_claim.claim_name, False))
        elif volume.ephemeral is not None:
            found.append((f"{pod.metadata.name}-{volume.name}", True))
    return found
