"""What the volume binder does next with a claim or a volume: pure functions over what the informers show.

A binding is written in four steps (volume, its status, claim, its status), each of which may be the last that succeeds:
whatever is found half done is gone on with. Reasons and messages of events are upstream's.
Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#lifecycle-of-a-volume-and-claim
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tiphys.api.resource import Json
from tiphys.kinds.core.persistentvolume import PersistentVolume
from tiphys.kinds.core.persistentvolumeclaim import PersistentVolumeClaim
from tiphys.kinds.core.volume_binding import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    PROVISIONED_BY,
    SELECTED_NODE,
    class_of,
    fitting,
    has_class,
    is_claimed_by,
    kept_for,
    mismatch,
)
from tiphys.kinds.storage.storageclass import DELAYED, StorageClass

# Of a class that binds what is there and makes nothing, and of drivers that were part of Kubernetes once.
_BUILT_IN = "kubernetes.io/"


@dataclass(frozen=True, slots=True)
class Told:
    """An event."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class ClaimPlan:
    """`bind` is the volume that the claim gets, `provisioner` whoever is to make one, `give` a class for it."""

    phase: str = ""
    bind: PersistentVolume | None = None
    provisioner: str = ""
    give: str = ""
    event: Told | None = None


@dataclass(frozen=True, slots=True)
class VolumePlan:
    """`release` is the patch that makes the volume free; `claim` is the key of a claim that has to be looked at."""

    phase: str = ""
    message: str = ""
    release: Json | None = None
    claim: str = ""
    event: Told | None = None


@dataclass(frozen=True, slots=True)
class Around:
    """What there is around a claim: the volume that it names, those that name it, free ones of its class, its class
    or, where it says nothing, the default one; and the names of pods that wait for it."""

    named: PersistentVolume | None = None
    claimed: Sequence[PersistentVolume] = ()
    free: Sequence[PersistentVolume] = ()
    storage_class: StorageClass | None = None
    default: StorageClass | None = None
    waiting: Sequence[str] = ()


def plan_claim(claim: PersistentVolumeClaim, around: Around) -> ClaimPlan:
    if BIND_COMPLETED in claim.metadata.annotations:
        return _bound(claim, around.named)
    return _named(claim, around.named) if claim.spec.volume_name else _unbound(claim, around)


def _bound(claim: PersistentVolumeClaim, volume: PersistentVolume | None) -> ClaimPlan:
    if not claim.spec.volume_name:
        why = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
        return ClaimPlan("Lost", event=Told("ClaimLost", why, warning=True))
    if volume is None:
        why = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        return ClaimPlan("Lost", event=Told("ClaimLost", why, warning=True))
    reference = volume.spec.claim_ref
    if reference is None or is_claimed_by(volume, claim):
        return ClaimPlan("Bound", volume)
    why = "Two claims are bound to the same volume, this one is bound incorrectly"
    return ClaimPlan("Lost", event=Told("ClaimMisbound", why, warning=True))


def _named(claim: PersistentVolumeClaim, volume: PersistentVolume | None) -> ClaimPlan:
    """A user chose the volume, or a binding stopped after its third step."""
    if volume is None:
        return ClaimPlan("Pending")
    name = volume.metadata.name
    if is_claimed_by(volume, claim):
        return ClaimPlan("Bound", volume)
    if volume.spec.claim_ref is not None:
        why = f'volume "{name}" already bound to a different claim.'
        return ClaimPlan("Pending", event=Told("FailedBinding", why, warning=True))
    wrong = mismatch(volume, claim)
    if wrong:
        why = f'Cannot bind to requested volume "{name}": {wrong}'
        return ClaimPlan("Pending", event=Told("VolumeMismatch", why, warning=True))
    return ClaimPlan("Bound", volume)


def _unbound(claim: PersistentVolumeClaim, around: Around) -> ClaimPlan:
    kept = kept_for(claim, around.claimed)
    if kept is not None:
        return ClaimPlan("Bound", kept)
    storage = around.storage_class
    delayed = storage is not None and storage.volume_binding_mode == DELAYED
    if not delayed:
        free = fitting(claim, around.free)
        if free:
            return ClaimPlan("Bound", free[0])
    if not has_class(claim) and around.default is not None:
        return ClaimPlan("Pending", give=around.default.metadata.name)
    if delayed and SELECTED_NODE not in claim.metadata.annotations:
        return ClaimPlan("Pending", event=_waits(around.waiting))
    if class_of(claim):
        return _provision(claim, storage)
    why = "no persistent volumes available for this claim and no storage class is set"
    return ClaimPlan("Pending", event=Told("FailedBinding", why))


def _waits(pods: Sequence[str]) -> Told:
    if not pods:
        return Told("WaitForFirstConsumer", "waiting for first consumer to be created before binding")
    noun = "pods" if len(pods) > 1 else "pod"
    return Told("WaitForPodScheduled", f"waiting for {noun} {','.join(sorted(pods))} to be scheduled")


def _provision(claim: PersistentVolumeClaim, storage: StorageClass | None) -> ClaimPlan:
    if storage is None:
        why = f'storageclass.storage.k8s.io "{class_of(claim)}" not found'
        return ClaimPlan("Pending", event=Told("ProvisioningFailed", why, warning=True))
    name = storage.provisioner
    if name.startswith(_BUILT_IN):
        return ClaimPlan(
            "Pending", event=Told("ProvisioningFailed", f"no volume plugin matched name: {name}", warning=True)
        )
    why = (
        f"Waiting for a volume to be created either by the external provisioner '{name}' or manually by the system "
        "administrator. If volume creation is delayed, please verify that the provisioner is running and correctly "
        "registered."
    )
    return ClaimPlan("Pending", provisioner=name, event=Told("ExternalProvisioning", why))


def plan_volume(volume: PersistentVolume, claim: PersistentVolumeClaim | None) -> VolumePlan:
    """`claim` is the one of the name that the volume refers to, if there is one."""
    reference = volume.spec.claim_ref
    if reference is None:
        return VolumePlan("Available")
    key = f"{reference.namespace}/{reference.name}"
    if not reference.uid:
        return VolumePlan("Available", claim=key if claim is not None else "")
    if claim is None or claim.metadata.uid != reference.uid:
        return _reclaim(volume)
    if not claim.spec.volume_name:
        return VolumePlan(volume.status.phase, volume.status.message, claim=key)
    if claim.spec.volume_name == volume.metadata.name:
        return VolumePlan("Bound")
    if PROVISIONED_BY in volume.metadata.annotations and volume.spec.persistent_volume_reclaim_policy == "Delete":
        # It was made for the claim, which got another one meanwhile.
        return _reclaim(volume)
    return VolumePlan("Available", release=_release(volume))


def _reclaim(volume: PersistentVolume) -> VolumePlan:
    """The claim is gone. Whoever provisioned the volume deletes it when it is Released, if that is its policy."""
    policy, name = volume.spec.persistent_volume_reclaim_policy, volume.metadata.name
    if policy == "Recycle":
        return _failed("VolumeFailedRecycle", "No recycler plugin found for the volume!")
    if policy == "Delete" and PROVISIONED_BY not in volume.metadata.annotations:
        why = f'error getting deleter volume plugin for volume "{name}": no deletable volume plugin matched'
        return _failed("VolumeFailedDelete", why)
    failed = volume.status.phase == "Failed"
    return VolumePlan("Failed" if failed else "Released", volume.status.message if failed else "")


def _failed(reason: str, why: str) -> VolumePlan:
    return VolumePlan("Failed", why, event=Told(reason, why, warning=True))


def _release(volume: PersistentVolume) -> Json:
    """Ours becomes free; one that its user kept for the claim stays kept, for whichever of that name comes."""
    meta = {"resourceVersion": volume.metadata.resource_version}
    if BOUND_BY_CONTROLLER in volume.metadata.annotations:
        return {"metadata": {**meta, "annotations": {BOUND_BY_CONTROLLER: None}}, "spec": {"claimRef": None}}
    return {"metadata": meta, "spec": {"claimRef": {"uid": None, "resourceVersion": None}}}
