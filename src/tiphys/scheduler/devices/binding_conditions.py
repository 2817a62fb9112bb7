"""Devices that have to be made ready for a node first: a pod is bound once their drivers say so, in the claims' status.

A device that fails, or is not ready in time, is given back, and its pod tried anew.
Source: https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#device-binding-conditions
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tiphys.api.errors import Conflict, NotFound, Timeout
from tiphys.api.resource import Json
from tiphys.client.client import Client
from tiphys.kinds.resource.resourceclaim import RESOURCE_CLAIMS, AllocatedDevice, ResourceClaim
from tiphys.scheduler.devices.view import Devices

# Upstream's default.
SECONDS = 600.0


class Failed(Exception):
    """A device cannot be made ready."""


async def ready(claims: Sequence[ResourceClaim], view: Devices, client: Client, within: float = SECONDS) -> None:
    """Return once all devices of the claims are ready. Raises ApiError, after giving back what is not."""
    for claim in claims:
        if any(device.binding_conditions for device in _allocated(claim, view)):
            await _ready(claim, view, client, within)


def _allocated(claim: ResourceClaim, view: Devices) -> Sequence[AllocatedDevice]:
    found = view.allocation(claim)
    return found.devices.results if found is not None else ()


async def _ready(claim: ResourceClaim, view: Devices, client: Client, within: float) -> None:
    key, moved = claim.metadata.key, view.moved.setdefault(claim.metadata.uid, asyncio.Event())
    try:
        async with asyncio.timeout(within):
            while not is_ready(_current(claim, view)):
                moved.clear()
                await moved.wait()
    except Failed as failed:
        await _give_back(_current(claim, view), client)
        raise Conflict(f"resource claim {key}: {failed}") from failed
    except TimeoutError as error:
        await _give_back(_current(claim, view), client)
        raise Timeout(f"resource claim {key}: its devices were not ready within {within:g} s") from error


def _current(claim: ResourceClaim, view: Devices) -> ResourceClaim:
    found = view.claims.get(claim.metadata.key)
    if found is None or found.metadata.uid != claim.metadata.uid:
        raise Conflict(f"resource claim {claim.metadata.key} was deleted")
    return found


def is_ready(claim: ResourceClaim) -> bool:
    """Whether all the binding conditions of all its devices hold. Raises Failed."""
    if claim.status.allocation is None:
        return False
    found = {(each.driver, each.pool, each.device, each.share_id): each.conditions for each in claim.status.devices}
    done = True
    for device in claim.status.allocation.devices.results:
        conditions = found.get((device.driver, device.pool, device.device, device.share_id), ())
        true = {each.type: each.message for each in conditions if each.status == "True"}
        for name in device.binding_failure_conditions:
            if name in true:
                raise Failed(f"device {device.driver}/{device.pool}/{device.device} has failed: {name}: {true[name]}")
        done = done and all(name in true for name in device.binding_conditions)
    return done


async def _give_back(claim: ResourceClaim, client: Client) -> None:
    """Have other devices allocated the next time, unless others use these."""
    if len(claim.status.reserved_for) > 1:
        return
    meta = claim.metadata
    patch: Json = {
        "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
        "status": {"allocation": None, "reservedFor": None, "devices": None},
    }  # fmt: skip
    try:
        await client.of(RESOURCE_CLAIMS).patch(meta, patch, subresource="status")
    except NotFound:
        return
