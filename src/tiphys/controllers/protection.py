"""Volumes and claims that are used do not go: their finalizers are taken away when nothing uses them any more.

Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tiphys.api.errors import NotFound
from tiphys.api.meta import Key, ObjectMeta
from tiphys.api.resource import Json
from tiphys.controllers.base import After, Context
from tiphys.kinds.core.persistentvolume import PERSISTENT_VOLUMES
from tiphys.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS
from tiphys.kinds.core.pod import PODS, Pod

CLAIM, VOLUME = "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"


def released(meta: ObjectMeta, finalizer: str) -> Json | None:
    """The patch that takes `finalizer` from an object that is being deleted, or None where there is nothing to do."""
    if not meta.deletion_timestamp or finalizer not in meta.finalizers:
        return None
    kept: Sequence[str] = [name for name in meta.finalizers if name != finalizer]
    return {"metadata": {"resourceVersion": meta.resource_version, "finalizers": kept}}


def claims_of(pod: Pod) -> Iterator[str]:
    """Keys of the claims that a pod uses, its ephemeral volumes' included."""
    meta = pod.metadata
    for volume in pod.spec.volumes:
        if volume.persistent_volume_claim is not None:
            yield f"{meta.namespace}/{volume.persistent_volume_claim.claim_name}"
        elif volume.ephemeral is not None:
            yield f"{meta.namespace}/{meta.name}-{volume.name}"


class PvcProtectionController:
    """A claim goes when no pod that has a node uses it; one without a node will not start any more."""

    name = "pvc-protection-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._claims = context.watch(PERSISTENT_VOLUME_CLAIMS)
        self._pods = context.watch(PODS, claims_of)
        self._pods.add_index("claims", claims_of)
        self._client = context.client.of(PERSISTENT_VOLUME_CLAIMS)

    async def reconcile(self, key: Key) -> After | None:
        claim = self._claims.get(key)
        patch = released(claim.metadata, CLAIM) if claim is not None else None
        if claim is None or patch is None or any(pod.spec.node_name for pod in self._pods.by("claims", key)):
            return None
        try:
            await self._client.patch(claim.metadata, patch)
        except NotFound:
            return None
        return None


class PvProtectionController:
    """A volume goes when it is not bound."""

    name = "pv-protection-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._volumes = context.watch(PERSISTENT_VOLUMES)
        self._client = context.client.of(PERSISTENT_VOLUMES)

    async def reconcile(self, key: Key) -> After | None:
        volume = self._volumes.get(key)
        patch = released(volume.metadata, VOLUME) if volume is not None else None
        if volume is None or patch is None or volume.status.phase == "Bound":
            return None
        try:
            await self._client.patch(volume.metadata, patch)
        except NotFound:
            return None
        return None
