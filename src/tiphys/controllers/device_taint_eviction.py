"""The device taint eviction controller: pods go whose devices have NoExecute taints that their claims do not tolerate.

Taints are those that drivers publish in ResourceSlices. What a claim tolerates stands in its allocation.
Source: https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#device-taints-and-tolerations
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from tiphys.api.meta import Key
from tiphys.api.time import seconds
from tiphys.client.events import reference
from tiphys.controllers.base import After, Context
from tiphys.controllers.disruption import disrupt
from tiphys.controllers.resourceclaim_plan import names_of
from tiphys.kinds.core.pod import PODS, Pod
from tiphys.kinds.resource.resourceclaim import RESOURCE_CLAIMS, AllocatedDevice, ResourceClaim
from tiphys.kinds.resource.resourceslice import RESOURCE_SLICES, DeviceTaint, ResourceSlice

_REASON, _MESSAGE = "DeletionByDeviceTaintManager", "Device Taint manager: deleting due to NoExecute taint"
_DEVICES = "allocated devices"
TaintsOf = Callable[[str], Sequence[tuple[DeviceTaint, float]]]


def plan(pod: Pod, claims: Iterable[ResourceClaim], taints_of: TaintsOf) -> float | None:
    """When the pod has to go, in unix seconds, None if it may stay.

    `taints_of` gives the NoExecute taints of a device, each with the moment from which it counts.
    """
    if pod.deleted or pod.finished or not pod.spec.node_name:
        return None
    ends = [
        end
        for claim in claims if any(user.uid == pod.metadata.uid for user in claim.status.reserved_for)
        for device in _allocated(claim) for taint, since in taints_of(_key(device))
        if (end := _borne_until(device, taint, since)) is not None
    ]  # fmt: skip
    return min(ends, default=None)


def _borne_until(device: AllocatedDevice, taint: DeviceTaint, since: float) -> float | None:
    matching = [each for each in device.tolerations if each.tolerates(taint.key, taint.value, taint.effect)]
    if not matching:
        return since
    spans = [each.toleration_seconds for each in matching if each.toleration_seconds is not None]
    return since + max(0, min(spans)) if spans else None


def _allocated(claim: ResourceClaim) -> Sequence[AllocatedDevice]:
    return claim.status.allocation.devices.results if claim.status.allocation is not None else ()


def _key(device: AllocatedDevice) -> str:
    return f"{device.driver}/{device.pool}/{device.device}"


def _devices_of(claim: ResourceClaim) -> Iterator[str]:
    for device in _allocated(claim):
        yield _key(device)


def _executing(slice_: ResourceSlice | None) -> dict[str, list[DeviceTaint]]:
    """The NoExecute taints of a slice's devices, where there are any."""
    if slice_ is None:
        return {}
    spec, found = slice_.spec, dict[str, list[DeviceTaint]]()
    for device in spec.devices:
        taints = [taint for taint in device.taints if taint.effect == "NoExecute"]
        if taints:
            found[f"{spec.driver}/{spec.pool.name}/{device.name}"] = taints
    return found


class DeviceTaintEvictionController:
    """Keys are those of pods."""

    name = "device-taint-eviction-controller"
    workers = 4

    def __init__(self, context: Context) -> None:
        self._context = context
        # By device and slice, each taint with the moment from which it counts: that of a slice may not say.
        self._taints: dict[str, dict[str, list[tuple[DeviceTaint, float]]]] = {}
        self._pods, self._claims = context.informers.of(PODS), context.informers.of(RESOURCE_CLAIMS)
        self._claims.add_index(_DEVICES, _devices_of)
        self._client = context.client.of(PODS)
        context.informers.of(RESOURCE_SLICES).add_handler(self._slice_changed)
        self._claims.add_handler(self._claim_changed)

    async def reconcile(self, key: Key) -> After | None:
        pod = self._pods.get(key)
        if pod is None:
            return None
        space = pod.metadata.namespace
        claims = [claim for name in names_of(pod) if (claim := self._claims.get(f"{space}/{name}")) is not None]
        end, now = plan(pod, claims, self._taints_of), self._context.clock.time()
        if end is None:
            return None
        if end > now:
            return After(end - now)
        about = reference("v1", "Pod", pod.metadata)
        self._context.recorder.record(about, "DeviceTaintManagerEviction", "Marking for deletion")
        await disrupt(self._client, pod, _REASON, _MESSAGE, now=now)
        return None

    def _taints_of(self, device: str) -> list[tuple[DeviceTaint, float]]:
        return [taint for taints in self._taints.get(device, {}).values() for taint in taints]

    def _slice_changed(self, old: ResourceSlice | None, new: ResourceSlice | None) -> None:
        before, after = _executing(old), _executing(new)
        either = new or old
        if before == after or either is None:
            return
        now = self._context.clock.time()
        for device in before.keys() | after.keys():
            here = self._taints.setdefault(device, {})
            known = {(taint.key, taint.value): since for taint, since in here.pop(either.metadata.name, ())}
            if device in after:
                here[either.metadata.name] = [
                    (taint, seconds(taint.time_added) if taint.time_added else known.get((taint.key, taint.value), now))
                    for taint in after[device]
                ]
            if not here:
                del self._taints[device]
            for claim in self._claims.by(_DEVICES, device):
                self._look_at_users(claim)

    def _claim_changed(self, old: ResourceClaim | None, new: ResourceClaim | None) -> None:
        if new is not None and any(device in self._taints for device in _devices_of(new)):
            self._look_at_users(new)

    def _look_at_users(self, claim: ResourceClaim) -> None:
        for user in claim.status.reserved_for:
            self._context.queue.add(f"{claim.metadata.namespace}/{user.name}")
