"""The ephemeral volume controller: pods with generic ephemeral volumes get a claim for each, which goes with the pod.

Source: https://kubernetes.io/docs/concepts/storage/ephemeral-volumes/#generic-ephemeral-volumes
"""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.api.errors import AlreadyExists, NotFound
from tiphys.api.meta import Key, owner_reference
from tiphys.api.resource import Json
from tiphys.client.events import reference
from tiphys.controllers.base import After, Context
from tiphys.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from tiphys.kinds.core.pod import PODS, Pod

_KIND = "Pod"


class EphemeralVolumeController:
    """Keys are those of pods."""

    name = "ephemeral-volume-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._recorder = context.recorder
        self._pods = context.watch(PODS, _keys)
        self._claims = context.watch(PERSISTENT_VOLUME_CLAIMS, _pods_of)
        self._pod_client = context.client.of(PODS)
        self._claim_client = context.client.of(PERSISTENT_VOLUME_CLAIMS)

    async def reconcile(self, key: Key) -> After | None:
        pod = self._pods.get(key)
        if pod is None or pod.deleted or pod.finished:
            return None
        missing = [name for name in _volumes(pod) if self._lacks(pod, name)]
        if not missing:
            return None
        try:
            # The model holds the fields that somebody reads; claims get all that their templates say.
            whole = await self._pod_client.get_json(pod.metadata.name, pod.metadata.namespace)
        except NotFound:
            return None
        if whole["metadata"]["uid"] == pod.metadata.uid:
            for volume in whole["spec"].get("volumes") or ():
                if volume["name"] in missing:
                    await self._create(pod, volume)
        return None

    def _lacks(self, pod: Pod, volume: str) -> bool:
        """Whether the claim has to be made; one that is not the pod's is told of."""
        name = f"{pod.metadata.name}-{volume}"
        claim = self._claims.get(f"{pod.metadata.namespace}/{name}")
        if claim is None:
            return True
        if not any(held.uid == pod.metadata.uid and held.controller for held in claim.metadata.owner_references):
            why = f'PVC "{claim.metadata.key}" was not created for pod "{pod.metadata.key}" (pod is not owner)'
            about = reference("v1", _KIND, pod.metadata)
            self._recorder.record(about, "FailedBinding", f"ephemeral volume {volume}: {why}", warning=True)
        return False

    async def _create(self, pod: Pod, volume: Json) -> None:
        template = volume["ephemeral"]["volumeClaimTemplate"]
        given, meta = template.get("metadata") or {}, pod.metadata
        made: Json = {
            "name": f"{meta.name}-{volume['name']}", "namespace": meta.namespace,
            "ownerReferences": [owner_reference("v1", _KIND, meta)],
        }  # fmt: skip
        for field in ("labels", "annotations"):
            if given.get(field):
                made[field] = given[field]
        try:
            await self._claim_client.create({"metadata": made, "spec": template["spec"]})
        except AlreadyExists:
            # The informer will show whose it is.
            return


def _volumes(pod: Pod) -> list[str]:
    return [volume.name for volume in pod.spec.volumes if volume.ephemeral is not None]


def _keys(pod: Pod) -> Iterable[str]:
    return [pod.metadata.key] if _volumes(pod) else []


def _pods_of(claim: PersistentVolumeClaim) -> Iterable[str]:
    """The pod that has the claim."""
    held = (each for each in claim.metadata.owner_references if each.kind == _KIND and each.controller)
    return [f"{claim.metadata.namespace}/{each.name}" for each in held]
