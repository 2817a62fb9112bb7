"""What the scheduler knows of volumes: claims, volumes, classes and drivers, and what is decided but not written yet.

A volume that a pod is to get, and a node that a claim's volume is to be made on, count from the moment they are decided
until the API shows them or the decision is taken back: the next pod sees them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tiphys.api.resource import ResourceType
from tiphys.kinds.core.persistentvolume import PERSISTENT_VOLUMES, PersistentVolume
from tiphys.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from tiphys.kinds.core.volume_binding import (
    SELECTED_NODE,
    class_of,
    fitting,
    is_bound,
    is_claimed_by,
    is_free,
    kept_for,
)
from tiphys.kinds.storage.csidriver import CSI_DRIVERS, CsiDriver
from tiphys.kinds.storage.csinode import CSI_NODES, CsiNode
from tiphys.kinds.storage.csistoragecapacity import CSI_STORAGE_CAPACITIES, CsiStorageCapacity
from tiphys.kinds.storage.storageclass import DELAYED, STORAGE_CLASSES, StorageClass
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.view import View

CLAIM_CHANGED, VOLUME_CHANGED, CLASS_CHANGED = "volume claim changed", "volume changed", "storage class changed"
DRIVER_CHANGED = "volume driver changed"


@dataclass(slots=True)
class Decision:
    """What is to be written for a pod: claims that get a volume, and claims whose volume is to be made on `node`."""

    node: str
    bindings: Mapping[str, str] = field(default_factory=dict)
    provisions: tuple[str, ...] = ()
    revoked: bool = False
    # Set when something about one of its claims or volumes changes.
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def claims(self) -> Iterable[str]:
        return (*self.bindings, *self.provisions)


class Volumes(View):
    resources: ClassVar[tuple[ResourceType[Any], ...]] = (
        PERSISTENT_VOLUMES, PERSISTENT_VOLUME_CLAIMS, STORAGE_CLASSES, CSI_NODES, CSI_DRIVERS, CSI_STORAGE_CAPACITIES,
    )  # fmt: skip

    def __init__(self) -> None:
        self.volumes: dict[str, PersistentVolume] = {}
        self.claims: dict[str, PersistentVolumeClaim] = {}
        self.classes: dict[str, StorageClass] = {}
        self.nodes: dict[str, CsiNode] = {}
        self.drivers: dict[str, CsiDriver] = {}
        self.capacities: dict[str, CsiStorageCapacity] = {}
        self._others: dict[str, dict[str, Any]] = {
            "storageclasses": self.classes, "csinodes": self.nodes, "csidrivers": self.drivers,
            "csistoragecapacities": self.capacities,
        }  # fmt: skip
        # By driver and node, how many volumes it may have.
        self.limits: dict[str, dict[str, int]] = {}
        # Free volumes by class, and those that say whose they are by claim.
        self._free: dict[str, dict[str, PersistentVolume]] = {}
        self._claimed: dict[str, dict[str, PersistentVolume]] = {}
        # By the pod's key; what of them is not in the API yet: claims by volume, nodes by claim; the reverse.
        self.decisions: dict[str, Decision] = {}
        self._assumed: dict[str, str] = {}
        self._given: dict[str, str] = {}
        self._deciders: dict[str, list[Decision]] = {}
        # By claim, until something about volumes changes.
        self._candidates: dict[str, list[PersistentVolume]] = {}
        self._selected: dict[str, str] = {}
        # How many pods of a row use a claim.
        self.users: dict[str, dict[int, int]] = {}
        self.used: dict[int, dict[str, int]] = {}

    def changed(self, resource: ResourceType[Any], old: Any | None, new: Any | None) -> str | None:
        if resource is PERSISTENT_VOLUME_CLAIMS:
            return self._claim_changed(old, new)
        if resource is PERSISTENT_VOLUMES:
            return self._volume_changed(old, new)
        either = new if new is not None else old
        assert either is not None, "a change has at least one side"
        if resource is CSI_NODES:
            self._limit(old, new)
        kept = self._others[resource.plural]
        if new is None:
            kept.pop(either.metadata.key, None)
            return None
        kept[either.metadata.key] = new
        return CLASS_CHANGED if resource is STORAGE_CLASSES else DRIVER_CHANGED

    def _limit(self, old: CsiNode | None, new: CsiNode | None) -> None:
        if old is not None:
            for counts in self.limits.values():
                counts.pop(old.metadata.name, None)
        for driver in new.spec.drivers if new is not None else ():
            count = driver.allocatable.count if driver.allocatable is not None else None
            if new is not None and count is not None:
                self.limits.setdefault(driver.name, {})[new.metadata.name] = count

    def _claim_changed(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> str | None:
        either = new if new is not None else old
        assert either is not None, "a change has at least one side"
        key = either.metadata.key
        self._candidates.pop(key, None)
        if new is None:
            self.claims.pop(key, None)
            self._move(key)
            return None
        self.claims[key] = new
        self._move(key)
        if is_bound(new) or new.metadata.annotations.get(SELECTED_NODE) == self._selected.get(key):
            self._selected.pop(key, None)
        return CLAIM_CHANGED if old is None or _matters(old, new) else None

    def _volume_changed(self, old: PersistentVolume | None, new: PersistentVolume | None) -> str | None:
        self._candidates.clear()
        if old is not None:
            self._unindex(old)
        if new is None:
            return None
        name = new.metadata.name
        self.volumes[name] = new
        reference = new.spec.claim_ref
        if reference is not None:
            key = f"{reference.namespace}/{reference.name}"
            self._given.pop(self._assumed.pop(name, ""), None)
            self._claimed.setdefault(key, {})[name] = new
            self._move(key)
        elif is_free(new):
            self._free.setdefault(class_of(new), {})[name] = new
        return VOLUME_CHANGED

    def _unindex(self, old: PersistentVolume) -> None:
        name, reference = old.metadata.name, old.spec.claim_ref
        self.volumes.pop(name, None)
        key = f"{reference.namespace}/{reference.name}" if reference is not None else ""
        for table, held in ((self._free, class_of(old)), (self._claimed, key)):
            found = table.get(held)
            if found is not None:
                found.pop(name, None)
                if not found:
                    del table[held]

    def _move(self, claim: str) -> None:
        for decision in self._deciders.get(claim, ()):
            decision.moved.set()

    def count(self, info: PodInfo, row: int, sign: int) -> None:
        for key, _ in info.claims:
            for table, first, second in ((self.users, key, row), (self.used, row, key)):
                _add(table, first, second, sign)

    def delayed(self, claim: PersistentVolumeClaim) -> bool:
        """Whether the claim gets its volume only when a pod that uses it has a node."""
        storage = self.classes.get(class_of(claim))
        return storage is not None and storage.volume_binding_mode == DELAYED and not claim.spec.volume_name

    def selected(self, claim: PersistentVolumeClaim) -> str:
        """The node that the claim's volume is being made on, "" if none is."""
        return self._selected.get(claim.metadata.key) or claim.metadata.annotations.get(SELECTED_NODE, "")

    def kept(self, claim: PersistentVolumeClaim) -> PersistentVolume | None:
        """The volume that is the claim's already, in the API or by decision."""
        key = claim.metadata.key
        if key in self._given:
            return self.volumes.get(self._given[key])
        return kept_for(claim, self._claimed.get(key, {}).values())

    def candidates(self, claim: PersistentVolumeClaim) -> list[PersistentVolume]:
        """The free volumes that would do for the claim, the best first."""
        key = claim.metadata.key
        if key not in self._candidates:
            free = self._free.get(class_of(claim), {}).values()
            found = fitting(claim, (volume for volume in free if volume.metadata.name not in self._assumed))
            self._candidates[key] = found
        return self._candidates[key]

    def decide(self, pod: str, decision: Decision) -> None:
        self.decisions[pod] = decision
        for claim in decision.claims:
            self._deciders.setdefault(claim, []).append(decision)
        self._assume(decision)

    def _assume(self, decision: Decision) -> None:
        self._candidates.clear()
        self._assumed |= {volume: claim for claim, volume in decision.bindings.items()}
        self._given |= decision.bindings
        self._selected |= dict.fromkeys(decision.provisions, decision.node)

    def revoke(self, pod: str) -> None:
        """Take a decision back, whether or not part of it was written."""
        decision = self.done(pod)
        if decision is None:
            return
        decision.revoked = True
        decision.moved.set()
        self._candidates.clear()
        for claim, volume in decision.bindings.items():
            self._assumed.pop(volume, None)
            self._given.pop(claim, None)
        for claim in decision.provisions:
            self._selected.pop(claim, None)
        # Pods may share claims.
        for claim in decision.claims:
            for other in self._deciders.get(claim, ()):
                self._assume(other)

    def done(self, pod: str) -> Decision | None:
        """A decision was carried out; which one."""
        decision = self.decisions.pop(pod, None)
        for claim in decision.claims if decision is not None else ():
            others = [each for each in self._deciders.get(claim, ()) if each is not decision]
            if others:
                self._deciders[claim] = others
            else:
                self._deciders.pop(claim, None)
        return decision

    def settled(self, decision: Decision) -> bool:
        """Whether all claims of a decision are bound. Raises LookupError, which says why they will not be."""
        if decision.revoked:
            raise LookupError("the pod is not to be bound any more")
        for key in decision.claims:
            claim = self.claims.get(key)
            if claim is None:
                raise LookupError(f'persistentvolumeclaim "{key}" was deleted')
            if not is_bound(claim) and key in decision.provisions and self.selected(claim) != decision.node:
                raise LookupError(f'provisioning failed for PVC "{key}"')
        for key, name in decision.bindings.items():
            volume = self.volumes.get(name)
            if volume is None or (volume.spec.claim_ref is not None and not is_claimed_by(volume, self.claims[key])):
                raise LookupError(f'persistentvolume "{name}" is not there for "{key}" any more')
        return all(is_bound(self.claims[key]) for key in decision.claims)


def _matters(old: PersistentVolumeClaim, new: PersistentVolumeClaim) -> bool:
    return (
        old.spec != new.spec or old.status.phase != new.status.phase
        or old.metadata.annotations != new.metadata.annotations or old.metadata.uid != new.metadata.uid
    )  # fmt: skip


def _add(table: dict[Any, dict[Any, int]], first: Any, second: Any, sign: int) -> None:
    """Count, and forget what nobody has."""
    counts = table.setdefault(first, {})
    counts[second] = counts.get(second, 0) + sign
    if not counts[second]:
        del counts[second]
    if not counts:
        del table[first]
