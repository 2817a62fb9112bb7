"""What the ResourceClaim controller does, decided from what there is: for a pod, and for a claim."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from tiphys.api.meta import ObjectMeta, owner_reference
from tiphys.api.resource import Json
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.core.podspec import PodResourceClaim
from tiphys.kinds.resource.resourceclaim import FINALIZER, MOST_CONSUMERS, Consumer, ResourceClaim
from tiphys.kinds.resource.resourceclaimtemplate import ResourceClaimTemplate

# For which of its pod's claims a claim was made.
POD_CLAIM_NAME = "resource.kubernetes.io/pod-claim-name"
# Room for a hyphen and five random characters in a name of 63.
_MOST_PREFIX = 57


@dataclass(frozen=True, slots=True)
class PodPlan:
    """`create` claims from templates, note the names of those that are there already, `reserve` what was not."""

    create: Sequence[PodResourceClaim] = ()
    found: dict[str, str] = field(default_factory=dict)
    reserve: Sequence[ResourceClaim] = ()


@dataclass(frozen=True, slots=True)
class ClaimPlan:
    """`reserved_for` is what is left of the reservations, None if all of them stay."""

    reserved_for: Sequence[Consumer] | None = None
    deallocate: bool = False
    release: bool = False
    delete: bool = False


def done(pod: Pod) -> bool:
    """Its containers do not run and never will."""
    return pod.finished or (pod.deleted and not pod.spec.node_name)


def is_for(pod: Pod, claim: ResourceClaim) -> bool:
    owner = claim.metadata.controller
    return owner is not None and owner.uid == pod.metadata.uid


def names_of(pod: Pod) -> Iterable[str]:
    """The names of the pod's claims, as far as there are any."""
    return [name for use in pod.resource_claims if (name := pod.claim_name(use))]


def plan_pod(pod: Pod, claim_of: Callable[[str], ResourceClaim | None], owned: Iterable[ResourceClaim]) -> PodPlan:
    """`claim_of` finds a claim of the pod's namespace by its name; `owned` are those that were made for the pod."""
    if pod.deleted or done(pod):
        return PodPlan()
    create: list[PodResourceClaim] = []
    found: dict[str, str] = {}
    made = {claim.metadata.annotations.get(POD_CLAIM_NAME): claim.metadata.name for claim in owned}
    for use in pod.spec.resource_claims:
        name = pod.claim_name(use)
        if not use.resource_claim_template_name or name == "":
            continue
        known = claim_of(name) if name else None
        if known is not None and is_for(pod, known):
            continue
        if use.name in made:
            found[use.name] = made[use.name]
        else:
            create.append(use)
    claims = [claim for name in names_of(pod) if (claim := claim_of(name)) is not None] if pod.spec.node_name else []
    return PodPlan(create, found, [claim for claim in claims if _reservable(pod, claim)])


def _reservable(pod: Pod, claim: ResourceClaim) -> bool:
    """Allocated, and not reserved for a pod that has a node without the scheduler's doing."""
    users, owner = claim.status.reserved_for, claim.metadata.controller
    if claim.status.allocation is None or len(users) >= MOST_CONSUMERS or claim.metadata.deletion_timestamp:
        return False
    foreign = owner is not None and owner.kind == "Pod" and owner.uid != pod.metadata.uid
    return not foreign and all(user.uid != pod.metadata.uid for user in users)


def plan_claim(claim: ResourceClaim, gone: Collection[str], *, unneeded: bool) -> ClaimPlan:
    """`gone` are UIDs of pods that use it no more; `unneeded` tells that it was made for a pod that will not run."""
    left = [user for user in claim.status.reserved_for if user.uid not in gone]
    held = FINALIZER in claim.metadata.finalizers
    delete = unneeded and not left and claim.metadata.deletion_timestamp is None
    allocated = claim.status.allocation is not None
    if len(left) < len(claim.status.reserved_for):
        free = held and not left
        return ClaimPlan(left, deallocate=free and allocated, release=free, delete=delete)
    if held and claim.metadata.deletion_timestamp is not None and not left:
        return ClaimPlan(deallocate=allocated, release=True)
    return ClaimPlan(delete=delete)


def claim_from(template: ResourceClaimTemplate, pod: ObjectMeta, use: str) -> Json:
    """The claim to be made of a template for the pod's claim `use`."""
    meta = template.spec.get("metadata") or {}
    return {
        "metadata": {
            "generateName": _prefix(pod.name, use), "namespace": pod.namespace, "labels": meta.get("labels") or {},
            "annotations": {**(meta.get("annotations") or {}), POD_CLAIM_NAME: use},
            "ownerReferences": [owner_reference("v1", "Pod", pod)],
        },
        "spec": template.spec.get("spec") or {},
    }  # fmt: skip


def _prefix(pod: str, use: str) -> str:
    """Of both names something is left, whatever their length."""
    whole = f"{pod}-{use}-"
    if len(whole) <= _MOST_PREFIX:
        return whole
    return f"{pod[: len(pod) * _MOST_PREFIX // len(whole)]}-{use[: len(use) * _MOST_PREFIX // len(whole)]}"
