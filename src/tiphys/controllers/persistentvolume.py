"""The volume binder: claims get volumes, and volumes whose claims are gone are released.

`persistentvolume_plan` decides; this watches and writes. Keys with a slash are claims, others volumes. Every write is
conditional on what was decided upon, so that no two claims are given one volume.
Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from tiphys.api.errors import NotFound
from tiphys.api.meta import Key, ObjectMeta
from tiphys.api.resource import Json
from tiphys.api.time import rfc3339
from tiphys.client.events import reference
from tiphys.controllers.base import After, Context
from tiphys.controllers.persistentvolume_plan import Around, Told, plan_claim, plan_volume
from tiphys.controllers.protection import claims_of
from tiphys.kinds.core.persistentvolume import PERSISTENT_VOLUMES, PersistentVolume
from tiphys.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.core.volume_binding import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    STORAGE_PROVISIONER,
    bind_patch,
    class_of,
    has_class,
)
from tiphys.kinds.storage.storageclass import LOCAL_PROVISIONER, STORAGE_CLASSES, StorageClass, default_class

_CLAIM, _FREE, _PENDING, _USERS = "claim", "free", "pending", "claims"


class PersistentVolumeBinder:
    name = "persistent-volume-binder"
    workers = 8

    def __init__(self, context: Context) -> None:
        self._recorder, self._clock, self._queue = context.recorder, context.clock, context.queue
        self._claims = context.watch(PERSISTENT_VOLUME_CLAIMS, _keys_of_claim)
        self._volumes = context.watch(PERSISTENT_VOLUMES, self._keys_of_volume)
        self._classes = context.watch(STORAGE_CLASSES, self._keys_of_class)
        self._pods = context.informers.of(PODS)
        self._volumes.add_index(_CLAIM, _claim_of)
        self._volumes.add_index(_FREE, lambda volume: [] if volume.spec.claim_ref else [class_of(volume)])
        self._claims.add_index(_PENDING, _pending)
        self._pods.add_index(_USERS, claims_of)
        self._claim_client = context.client.of(PERSISTENT_VOLUME_CLAIMS)
        self._volume_client = context.client.of(PERSISTENT_VOLUMES)
        # What was said last of each claim or volume: it is not said again with every look.
        self._told: dict[str, Told] = {}

    def _keys_of_volume(self, volume: PersistentVolume) -> Iterator[str]:
        yield volume.metadata.key
        yield from _claim_of(volume)
        if volume.spec.claim_ref is None and volume.status.phase == "Available":
            yield from (claim.metadata.key for claim in self._claims.by(_PENDING, class_of(volume)))

    def _keys_of_class(self, storage: StorageClass) -> Iterator[str]:
        for name in (storage.metadata.name, ""):
            yield from (claim.metadata.key for claim in self._claims.by(_PENDING, name))

    async def reconcile(self, key: Key) -> After | None:
        try:
            await (self._claim(key) if "/" in key else self._volume(key))
        except NotFound:
            # It went meanwhile, which brings us back.
            return None
        return None

    async def _claim(self, key: Key) -> None:
        claim = self._claims.get(key)
        if claim is None:
            self._told.pop(key, None)
            return
        planned = plan_claim(claim, self._around(claim))
        if planned.bind is not None:
            self._told.pop(key, None)
            await self._bind(planned.bind, claim)
            return
        if planned.give:
            patch = {"metadata": _unchanged(claim.metadata), "spec": {"storageClassName": planned.give}}
            await self._claim_client.patch(claim.metadata, patch)
            return
        if planned.provisioner:
            claim = await self._ask(claim, planned.provisioner)
        if claim.status.phase != planned.phase:
            await self._set_status(claim, {"phase": planned.phase, "accessModes": None, "capacity": None})
        # Our own provisioner tells itself what it does.
        if planned.provisioner != LOCAL_PROVISIONER:
            self._tell(key, partial(reference, "v1", "PersistentVolumeClaim", claim.metadata), planned.event)

    def _around(self, claim: PersistentVolumeClaim) -> Around:
        key, name = claim.metadata.key, class_of(claim)
        waiting = [pod.metadata.name for pod in self._pods.by(_USERS, key) if not pod.spec.node_name]
        return Around(
            named=self._volumes.get(claim.spec.volume_name) if claim.spec.volume_name else None,
            claimed=self._volumes.by(_CLAIM, key), free=self._volumes.by(_FREE, name),
            storage_class=self._classes.get(name) if name else None,
            default=None if has_class(claim) else default_class(self._classes.items()), waiting=waiting,
        )  # fmt: skip

    async def _bind(self, volume: PersistentVolume, claim: PersistentVolumeClaim) -> None:
        patch = bind_patch(volume, claim)
        if patch is not None:
            volume = await self._volume_client.patch(volume.metadata, patch)
        await self._set_phase(volume, "Bound")
        held, name = claim.metadata.annotations, volume.metadata.name
        if claim.spec.volume_name != name or BIND_COMPLETED not in held:
            ours = {} if claim.spec.volume_name == name else {BOUND_BY_CONTROLLER: "yes"}
            meta = {**_unchanged(claim.metadata), "annotations": {BIND_COMPLETED: "yes", **ours}}
            claim = await self._claim_client.patch(claim.metadata, {"metadata": meta, "spec": {"volumeName": name}})
        modes = volume.spec.access_modes
        if claim.status.phase != "Bound" or claim.status.access_modes != modes:
            await self._set_status(claim, {"phase": "Bound", "accessModes": modes, "capacity": volume.spec.capacity})

    async def _set_status(self, claim: PersistentVolumeClaim, status: Json) -> None:
        patch = {"metadata": _unchanged(claim.metadata), "status": status}
        await self._claim_client.patch(claim.metadata, patch, subresource="status")

    async def _ask(self, claim: PersistentVolumeClaim, provisioner: str) -> PersistentVolumeClaim:
        """Say in the claim who is to make its volume."""
        wanted = dict.fromkeys(STORAGE_PROVISIONER, provisioner)
        if all(claim.metadata.annotations.get(name) == provisioner for name in wanted):
            return claim
        meta = {**_unchanged(claim.metadata), "annotations": wanted}
        asked: PersistentVolumeClaim = await self._claim_client.patch(claim.metadata, {"metadata": meta})
        return asked

    async def _volume(self, key: Key) -> None:
        volume = self._volumes.get(key)
        if volume is None:
            self._told.pop(key, None)
            return
        claim = next((found for held in _claim_of(volume) if (found := self._claims.get(held))), None)
        planned = plan_volume(volume, claim)
        if planned.release is not None:
            volume = await self._volume_client.patch(volume.metadata, planned.release)
        if planned.claim:
            self._queue.add(planned.claim)
        if planned.phase:
            await self._set_phase(volume, planned.phase, planned.message)
        self._tell(key, partial(reference, "v1", "PersistentVolume", volume.metadata), planned.event)

    async def _set_phase(self, volume: PersistentVolume, phase: str, message: str = "") -> None:
        if volume.status.phase != phase:
            since = rfc3339(self._clock.time())
            status = {"phase": phase, "message": message or None, "lastPhaseTransitionTime": since}
            patch = {"metadata": _unchanged(volume.metadata), "status": status}
            await self._volume_client.patch(volume.metadata, patch, subresource="status")

    def _tell(self, key: str, about: partial[dict[str, str]], event: Told | None) -> None:
        if event is None:
            self._told.pop(key, None)
        elif self._told.get(key) != event:
            self._told[key] = event
            self._recorder.record(about(), event.reason, event.message, warning=event.warning)


def _unchanged(meta: ObjectMeta) -> dict[str, object]:
    """The metadata of a patch that only what we have seen is changed by."""
    return {"resourceVersion": meta.resource_version}


def _keys_of_claim(claim: PersistentVolumeClaim) -> Iterable[str]:
    yield claim.metadata.key
    if claim.spec.volume_name:
        yield claim.spec.volume_name


def _claim_of(volume: PersistentVolume) -> Iterable[str]:
    held = volume.spec.claim_ref
    return [f"{held.namespace}/{held.name}"] if held is not None else []


def _pending(claim: PersistentVolumeClaim) -> Iterable[str]:
    """The class of a claim that has no volume."""
    return [] if BIND_COMPLETED in claim.metadata.annotations else [class_of(claim)]
