"""From the claims of a pod to the PersistentVolumes behind them, checked as upstream's volume manager does.

What a pod was given once it keeps: a claim that is deleted meanwhile takes nothing away from who uses it.
Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#claims-as-volumes
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tiphys.kinds.core.node import Node
from tiphys.kinds.core.node_selector import selects
from tiphys.kinds.core.persistentvolume import PersistentVolume
from tiphys.kinds.core.persistentvolumeclaim import PersistentVolumeClaim
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.core.volume_binding import ONE_POD, is_claimed_by
from tiphys.kubelet.volumes.objects import Objects
from tiphys.kubelet.volumes.setup import VolumeError


class Claims:
    """`node` is the newest form that the API has of this node."""

    def __init__(self, objects: Objects, node: Callable[[], Node | None]) -> None:
        self._objects, self._node = objects, node
        # By uid of the pod: its volumes by name.
        self._given: dict[str, dict[str, PersistentVolume]] = {}

    async def resolve(self, pod: Pod) -> Mapping[str, PersistentVolume]:
        """By the name of the pod's volume; `objects` must have the pod's. Raises VolumeError."""
        given = self._given.setdefault(pod.metadata.uid, {})
        for volume, claim, owned in _claims(pod):
            if volume not in given:
                given[volume] = await self._one(pod, volume, claim, owned=owned)
        return given

    async def _one(self, pod: Pod, volume: str, name: str, *, owned: bool) -> PersistentVolume:
        namespace = pod.metadata.namespace
        claim = self._objects.get(("persistentvolumeclaim", namespace, name))
        why = _wrong(pod, claim, name, owned=owned)
        if not why and claim is not None:
            reference = ("persistentvolume", "", claim.spec.volume_name)
            found = await self._objects.acquire_one(pod.metadata.uid, reference)
            if isinstance(found, PersistentVolume):
                why = self._unusable(pod, claim, found)
                if not why:
                    return found
            else:
                why = f'failed to fetch PV from API server: persistentvolumes "{claim.spec.volume_name}" not found'
        raise VolumeError(
            f"Unable to attach or mount volumes: unmounted volumes=[{volume}], unattached volumes=[], failed to "
            f"process volumes=[{volume}]: error processing PVC {namespace}/{name}: {why}"
        )

    def _unusable(self, pod: Pod, claim: PersistentVolumeClaim, volume: PersistentVolume) -> str:
        name, node = volume.metadata.name, self._node()
        if not is_claimed_by(volume, claim):
            return f"PVC is bound to PV {name}, which is not bound to it"
        required = volume.spec.node_affinity.required if volume.spec.node_affinity is not None else None
        if node is not None and not selects(required, node):
            return f'MountVolume.NodeAffinity check failed for volume "{name}" : no matching NodeSelectorTerms'
        if ONE_POD in volume.spec.access_modes:
            others = (given for uid, given in self._given.items() if uid != pod.metadata.uid)
            for given in others:
                if any(other.metadata.uid == volume.metadata.uid for other in given.values()):
                    return "volume uses the ReadWriteOncePod access mode and is already in use by another pod"
        return ""

    def release(self, uid: str) -> None:
        """The pod is over."""
        self._given.pop(uid, None)


def _claims(pod: Pod) -> Iterator[tuple[str, str, bool]]:
    """(volume, claim, whether the claim is the pod's own)."""
    for volume in pod.spec.volumes:
        if volume.persistent_volume_claim is not None:
            yield volume.name, volume.persistent_volume_claim.claim_name, False
        elif volume.ephemeral is not None:
            yield volume.name, f"{pod.metadata.name}-{volume.name}", True


def _ran(pod: Pod) -> bool:
    """Whether containers of the pod were started, by a kubelet before this one perhaps."""
    every = (*pod.status.container_statuses, *pod.status.init_container_statuses)
    return any(each.container_id for each in every)


def _wrong(pod: Pod, claim: PersistentVolumeClaim | None, name: str, *, owned: bool) -> str:
    if claim is None:
        return f'failed to fetch PVC from API server: persistentvolumeclaims "{name}" not found'
    if owned and not any(held.uid == pod.metadata.uid and held.controller for held in claim.metadata.owner_references):
        return f'PVC "{claim.metadata.key}" was not created for pod "{pod.metadata.key}" (pod is not owner)'
    if claim.metadata.deletion_timestamp and not _ran(pod):
        return "PVC is being deleted"
    if claim.status.phase != "Bound" or not claim.spec.volume_name:
        return "PVC is not bound"
    return ""
