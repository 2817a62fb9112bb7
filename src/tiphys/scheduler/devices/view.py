"""What the scheduler knows of claims, classes and devices: a model without I/O, fed with every change.

A device counts as in use from the moment it is reserved: the claim is `pending` until its own status says so. What was
sent to the API server stays reserved whatever becomes of the pod, as long as nobody knows that it was not written.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from tiphys.api.meta import ObjectMeta
from tiphys.api.quantity import parse
from tiphys.api.resource import Json, ResourceType
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.core.podspec import PodResourceClaim
from tiphys.kinds.resource.deviceclass import DEVICE_CLASSES, DeviceClass
from tiphys.kinds.resource.resourceclaim import EXTENDED, RESOURCE_CLAIMS, Allocation, ResourceClaim
from tiphys.kinds.resource.resourceslice import RESOURCE_SLICES
from tiphys.scheduler.devices.capacity import Amounts
from tiphys.scheduler.devices.extended import ExtendedClaim, backing
from tiphys.scheduler.devices.inventory import DeviceId, Inventory
from tiphys.scheduler.devices.shapes import Shape
from tiphys.scheduler.devices.usage import Usage
from tiphys.scheduler.devices.wanted import wanted
from tiphys.scheduler.view import View

# What may make a refused pod fit.
CLAIM_CHANGED, DEVICES_FREED = "resource claim changed", "devices freed"
CLASS_CHANGED, SLICE_CHANGED = "device class changed", "resource slice changed"
_SHAPES = 256
Held = tuple[tuple[DeviceId, Amounts | None], ...]


class Unavailable(Exception):
    """A claim of a pod that cannot be had for now, in upstream's words."""


@dataclass(slots=True)
class Pending:
    """An allocation that the claim's status does not show yet.

    `pods` are the keys of those that it is reserved for, each of which writes it; `sent` counts the writes that are not
    known to have failed.
    """

    status: Json
    allocation: Allocation
    pods: set[str]
    sent: int = 0


@dataclass(frozen=True, slots=True)
class Extended:
    """What a pod gets for its extended resources: the claim to be made, and the allocation that it will have."""

    claim: ExtendedClaim
    status: Json


class Devices(View):
    resources = (RESOURCE_CLAIMS, DEVICE_CLASSES, RESOURCE_SLICES)

    def __init__(self) -> None:
        self.claims: dict[str, ResourceClaim] = {}
        self.classes: dict[str, DeviceClass] = {}
        # By extended resource, the class that stands for it.
        self.backed: dict[str, str] = {}
        self.names: frozenset[str] = frozenset()
        # By the key of a pod, what it gets for its extended resources, for which no claim was made yet.
        self.extended: dict[str, Extended] = {}
        self._extended_claims: dict[str, str] = {}
        self.inventory, self.used = Inventory(), Usage()
        # By the claim's UID.
        self.pending: dict[str, Pending] = {}
        # By the claim's UID, set whenever the claim changes, for those who wait for that.
        self.moved: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self._held: dict[str, Held] = {}
        self._specs: dict[str, bytes] = {}
        self._shapes: OrderedDict[tuple[bytes, ...], Shape] = OrderedDict()

    def changed(self, resource: ResourceType[Any], old: Any | None, new: Any | None) -> str | None:
        if resource is RESOURCE_SLICES:
            self.inventory.set_slice(old, new)
            return SLICE_CHANGED if new is not None else None
        if resource is DEVICE_CLASSES:
            return self._class_changed(old, new)
        return self._claim_changed(old, new)

    def _class_changed(self, old: DeviceClass | None, new: DeviceClass | None) -> str | None:
        self._shapes.clear()
        if old is not None:
            self.classes.pop(old.metadata.name, None)
        if new is not None:
            self.classes[new.metadata.name] = new
        self.backed = backing(self.classes.values())
        self.names = frozenset(self.backed)
        return CLASS_CHANGED if new is not None else None

    def of(self, pod: Pod) -> list[ResourceClaim]:
        """The pod's claims, without those that it needs not. Raises Unavailable."""
        found = [claim for each in pod.spec.resource_claims if (claim := self._claim(pod, each)) is not None]
        made = self.made_for(pod)
        return [*found, made] if made is not None and self.allocation(made) is not None else found

    def made_for(self, pod: Pod) -> ResourceClaim | None:
        """The claim that was made for the pod's extended resources when it was tried before."""
        return self.claims.get(self._extended_claims.get(pod.metadata.uid, ""))

    def waits_for_template(self, pod: Pod) -> bool:
        """Whether a claim that is made for the pod is not there yet."""
        for each in pod.spec.resource_claims:
            if each.resource_claim_template_name:
                name = pod.claim_name(each)
                if name is None or (name and f"{pod.metadata.namespace}/{name}" not in self.claims):
                    return True
        return False

    def allocation(self, claim: ResourceClaim) -> Allocation | None:
        """What the claim has got, or is getting."""
        pending = self.pending.get(claim.metadata.uid)
        if claim.status.allocation is None and pending is not None:
            return pending.allocation
        return claim.status.allocation

    def shape(self, claims: Sequence[ResourceClaim], extended: ExtendedClaim | None = None) -> Shape:
        """Of claims to be allocated, all whose classes there are; `extended` is allocated last."""
        key = tuple(self._spec(claim) for claim in claims) + ((extended.key,) if extended is not None else ())
        known = self._shapes.get(key)
        if known is None:
            specs = [claim.spec for claim in claims] + ([extended.spec] if extended is not None else [])
            known = self._shapes[key] = Shape([wanted(spec, self.classes) for spec in specs])
            if len(self._shapes) > _SHAPES:
                self._shapes.popitem(last=False)
        self._shapes.move_to_end(key)
        return known

    def reserve(self, claim: ResourceClaim, pod: str, status: Json) -> None:
        """The pod's claim gets this allocation (as its status will have it): nobody else gets these devices."""
        made = msgspec.convert(status, Allocation)
        self.pending[claim.metadata.uid] = Pending(status, made, {pod})
        self._hold(claim.metadata.uid, tuple(_held(made)))

    def reserve_extended(self, pod: str, claim: ExtendedClaim, status: Json) -> None:
        """The same for a claim that has yet to be made."""
        self.extended[pod] = Extended(claim, status)
        self._hold(_unmade(pod), tuple(_held(msgspec.convert(status, Allocation))))

    def made(self, pod: str, uid: str) -> None:
        """The claim for the pod's extended resources is there, and its allocation is being written."""
        extended = self.extended.pop(pod)
        made = msgspec.convert(extended.status, Allocation)
        self.pending[uid] = Pending(extended.status, made, {pod}, sent=1)
        self._hold(uid, tuple(_held(made)))
        self._hold(_unmade(pod), ())

    def join(self, claim: ResourceClaim, pod: str) -> None:
        """The pod too uses the claim, which may be getting its devices for another."""
        pending = self.pending.get(claim.metadata.uid)
        if pending is not None:
            pending.pods.add(pod)

    def unreserve(self, pod: str) -> None:
        """Give back what was reserved for the pod of this key, unless others use it or it may have been written."""
        if self.extended.pop(pod, None) is not None:
            self._hold(_unmade(pod), ())
        for uid, pending in list(self.pending.items()):
            pending.pods.discard(pod)
            if not pending.pods and not pending.sent:
                del self.pending[uid]
                self._hold(uid, ())

    def _claim(self, pod: Pod, use: PodResourceClaim) -> ResourceClaim | None:
        name = pod.claim_name(use)
        if name is None:
            raise Unavailable(f'pod "{pod.metadata.key}": ResourceClaim not created yet')
        if not name:
            return None
        key = f"{pod.metadata.namespace}/{name}"
        claim = self.claims.get(key)
        if claim is None:
            raise Unavailable(f'could not find ResourceClaim "{key}"')
        if claim.metadata.deletion_timestamp is not None:
            raise Unavailable(f'resourceclaim "{name}" is being deleted')
        if use.resource_claim_template_name and not _owns(pod.metadata, claim.metadata):
            what = f"was not created for pod {pod.metadata.key} (pod is not owner)"
            raise Unavailable(f"ResourceClaim {key} {what}")
        return claim

    def _claim_changed(self, old: ResourceClaim | None, new: ResourceClaim | None) -> str | None:
        freed = False
        for either in (old, new):
            if either is not None and (moved := self.moved.get(either.metadata.uid)) is not None:
                moved.set()
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            self.claims.pop(old.metadata.key, None)
            if EXTENDED in old.metadata.annotations and old.metadata.controller is not None:
                self._extended_claims.pop(old.metadata.controller.uid, None)
            self.pending.pop(old.metadata.uid, None)
            self._specs.pop(old.metadata.uid, None)
            freed = self._hold(old.metadata.uid, ())
        if new is None:
            return DEVICES_FREED if freed else None
        self.claims[new.metadata.key] = new
        if EXTENDED in new.metadata.annotations and new.metadata.controller is not None:
            self._extended_claims[new.metadata.controller.uid] = new.metadata.key
        if new.status.allocation is not None:
            self.pending.pop(new.metadata.uid, None)
            freed |= self._hold(new.metadata.uid, tuple(_held(new.status.allocation)))
        elif new.metadata.uid not in self.pending:
            freed |= self._hold(new.metadata.uid, ())
        return DEVICES_FREED if freed else CLAIM_CHANGED

    def _hold(self, uid: str, devices: Held) -> bool:
        """What the claim holds from now on; whether it held something else."""
        before = self._held.pop(uid, ())
        if devices:
            self._held[uid] = devices
        if before == devices:
            return False
        for held, sign in ((before, -1), (devices, 1)):
            for device, amounts in held:
                self.used.count(device, amounts, sign)
        for pool in {device[:2] for held in (before, devices) for device, _ in held}:
            known = self.inventory.pools.get(pool)
            if known is not None:
                for shape in self._shapes.values():
                    shape.changed(known)
        return bool(before)

    def _spec(self, claim: ResourceClaim) -> bytes:
        uid = claim.metadata.uid
        if uid not in self._specs:
            self._specs[uid] = msgspec.json.encode(claim.spec)
        return self._specs[uid]


def _unmade(pod: str) -> str:
    """Stands for the UID of a claim that has none yet; no UID is like it."""
    return f"of pod {pod}"


def _owns(pod: ObjectMeta, claim: ObjectMeta) -> bool:
    return claim.controller is not None and claim.controller.uid == pod.uid


def _held(allocation: Allocation) -> Iterator[tuple[DeviceId, Amounts | None]]:
    """Admin access takes nothing from others."""
    for each in allocation.devices.results:
        if not each.admin_access:
            amounts = {name: parse(value).nanos for name, value in each.consumed_capacity.items()}
            yield (each.driver, each.pool, each.device), amounts if each.share_id else None
