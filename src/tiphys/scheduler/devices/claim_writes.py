"""What the scheduler writes of claims before a pod is bound: allocations, reservations, claims of its own making."""

from __future__ import annotations

from tiphys.api.errors import ApiError, Conflict, NotFound
from tiphys.api.meta import owner_reference
from tiphys.api.resource import Json
from tiphys.client.client import Client
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.resource.resourceclaim import EXTENDED, FINALIZER, RESOURCE_CLAIMS, ResourceClaim
from tiphys.scheduler.devices.extended import ExtendedClaim
from tiphys.scheduler.devices.view import Devices, Pending
from tiphys.scheduler.pod import PodInfo


async def reserve(claim: ResourceClaim, info: PodInfo, view: Devices, client: Client) -> None:
    """Reserve the claim for the pod, with its allocation if it had none. Raises ApiError and Unreachable."""
    meta = claim.metadata
    pending = view.pending.get(meta.uid) if claim.status.allocation is None else None
    if pending is None and claim.status.allocation is None:
        raise Conflict(f"resource claim {meta.key} has no allocation for pod {info.key}")
    if pending is not None:
        if FINALIZER not in meta.finalizers:
            finalizers = {"metadata": {"uid": meta.uid, "finalizers": [FINALIZER]}}
            await client.of(RESOURCE_CLAIMS).patch(meta, finalizers, kind="strategic")
        pending.sent += 1
    await _write(claim, info, pending, client)


async def _write(claim: ResourceClaim, info: PodInfo, pending: Pending | None, client: Client) -> None:
    pod = info.pod.metadata
    status: Json = {"reservedFor": [{"resource": "pods", "name": pod.name, "uid": pod.uid}]}
    if pending is not None:
        # Of several pods that use the claim any may be the first; what they write is the same.
        status["allocation"] = pending.status
    patch = {"metadata": {"uid": claim.metadata.uid}, "status": status}
    try:
        await client.of(RESOURCE_CLAIMS).patch(claim.metadata, patch, kind="strategic", subresource="status")
    except ApiError as error:
        if pending is not None and error.code < 500:
            # Surely not written.
            pending.sent -= 1
        raise


async def extend(info: PodInfo, wanted: ExtendedClaim | None, view: Devices, client: Client) -> None:
    """Make the claim for the pod's extended resources, and tell in its status of which request each container has some.

    Raises ApiError and Unreachable.
    """
    if wanted is None:
        return
    claims, claim = client.of(RESOURCE_CLAIMS), view.made_for(info.pod)
    if info.key in view.extended:
        if claim is not None:
            # Made by an attempt before, which came no further.
            await _forget(claim, client)
        claim = await claims.create(_claim(info, wanted))
        view.made(info.key, claim.metadata.uid)
        await _write(claim, info, view.pending[claim.metadata.uid], client)
    if claim is None:
        raise Conflict(f"pod {info.key} has no devices for its extended resources")
    status = {"resourceClaimName": claim.metadata.name, "requestMappings": wanted.mappings}
    meta = info.pod.metadata
    patch = {"metadata": {"uid": meta.uid}, "status": {"extendedResourceClaimStatus": status}}
    await client.of(PODS).patch(meta, patch, kind="strategic", subresource="status")


async def _forget(claim: ResourceClaim, client: Client) -> None:
    try:
        await client.of(RESOURCE_CLAIMS).delete(claim.metadata)
    except NotFound:
        return


def _claim(info: PodInfo, wanted: ExtendedClaim) -> Json:
    meta = info.pod.metadata
    return {
        "metadata": {
            "generateName": f"{meta.name}-extended-resources-", "namespace": meta.namespace,
            "annotations": {EXTENDED: "true"}, "finalizers": [FINALIZER],
            "ownerReferences": [owner_reference("v1", "Pod", meta)],
        },
        "spec": wanted.json,
    }  # fmt: skip
