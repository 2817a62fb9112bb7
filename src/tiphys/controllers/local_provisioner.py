"""Volumes for claims of classes of `tiphys.dev/local`: a directory on the node that the claim's pod was given.

This side writes PersistentVolumes; the node's kubelet makes the directory when a pod first mounts it, and removes it
before the volume goes, which the volume's finalizer waits for. Whose node is gone for good has no directory either.
Where nodes keep such directories their annotation says. Sizes are not enforced, so that a claim may simply grow.
"""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.api.errors import AlreadyExists, NotFound
from tiphys.api.meta import Key
from tiphys.api.quantity import parse
from tiphys.api.resource import Json
from tiphys.client.events import reference
from tiphys.controllers.base import After, Context
from tiphys.kinds.core.node import NODES, Node
from tiphys.kinds.core.persistentvolume import PERSISTENT_VOLUMES, PersistentVolume
from tiphys.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from tiphys.kinds.core.volume_binding import (
    ONE_POD,
    PROVISIONED_BY,
    SELECTED_NODE,
    STORAGE_PROVISIONER,
    capacity,
    claim_reference,
    class_of,
    is_bound,
    requested,
)
from tiphys.kinds.storage.local import DIRECTORY, FINALIZER, NODE, node_of
from tiphys.kinds.storage.storageclass import DELAYED, LOCAL_PROVISIONER, STORAGE_CLASSES, StorageClass

_MODES = frozenset({"ReadWriteOnce", ONE_POD})
_CLASS, _ON, _VOLUME = "class", "on", "volume"
_HOST = "kubernetes.io/hostname"


def refusal(claim: PersistentVolumeClaim) -> str:
    """Why no such volume can serve the claim; "" if one can."""
    if claim.spec.volume_mode != "Filesystem":
        return f"{LOCAL_PROVISIONER} makes volumes of volumeMode Filesystem only"
    if not set(claim.spec.access_modes) <= _MODES:
        return f"{LOCAL_PROVISIONER} makes volumes of accessModes ReadWriteOnce and ReadWriteOncePod only"
    source = claim.spec.data_source_ref or claim.spec.data_source
    return f"{LOCAL_PROVISIONER} cannot fill a volume from a {source.kind}" if source is not None else ""


def volume_of(claim: PersistentVolumeClaim, storage: StorageClass, node: Node) -> Json:
    """The volume to make for a claim on a node that says where it keeps such."""
    name = f"pvc-{claim.metadata.uid}"
    here = {"key": _HOST, "operator": "In", "values": [node.metadata.labels.get(_HOST, node.metadata.name)]}
    return {
        "metadata": {
            "name": name, "labels": {NODE: node.metadata.name}, "annotations": {PROVISIONED_BY: LOCAL_PROVISIONER},
            "finalizers": [FINALIZER],
        },
        "spec": {
            "capacity": {"storage": claim.spec.resources.requests["storage"]},
            "accessModes": claim.spec.access_modes, "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": storage.reclaim_policy, "storageClassName": storage.metadata.name,
            "claimRef": claim_reference(claim),
            "local": {"path": f"{node.metadata.annotations[DIRECTORY]}/{name}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }  # fmt: skip


class LocalProvisioner:
    """Keys with a slash are claims, others volumes."""

    name = "local-provisioner"
    workers = 4

    def __init__(self, context: Context) -> None:
        self._recorder = context.recorder
        self._claims = context.watch(PERSISTENT_VOLUME_CLAIMS, _ours)
        self._volumes = context.watch(PERSISTENT_VOLUMES, _made)
        self._classes = context.watch(STORAGE_CLASSES, self._keys_of_class)
        self._nodes = context.informers.of(NODES)
        self._nodes.add_handler(self._node_changed)
        self._queue = context.queue
        self._volumes.add_index(_ON, lambda volume: [node_of(volume)] if node_of(volume) else [])
        self._claims.add_index(_CLASS, lambda claim: [class_of(claim)] if not claim.spec.volume_name else [])
        self._claim_client = context.client.of(PERSISTENT_VOLUME_CLAIMS)
        self._volume_client = context.client.of(PERSISTENT_VOLUMES)

    def _keys_of_class(self, storage: StorageClass) -> Iterable[str]:
        return [claim.metadata.key for claim in self._claims.by(_CLASS, storage.metadata.name)]

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if new is None and old is not None:
            for volume in self._volumes.by(_ON, old.metadata.name):
                self._queue.add(volume.metadata.key)
        elif new is not None and (old is None or _directory(old) != _directory(new) or old.ready != new.ready):
            for claim in self._claims.items():
                chosen = claim.metadata.annotations.get(SELECTED_NODE, new.metadata.name)
                if chosen == new.metadata.name and not claim.spec.volume_name and any(_ours(claim)):
                    self._queue.add(claim.metadata.key)

    async def reconcile(self, key: Key) -> After | None:
        try:
            await (self._claim(key) if "/" in key else self._volume(key))
        except NotFound:
            return None
        return None

    async def _claim(self, key: Key) -> None:
        claim = self._claims.get(key)
        if claim is None or claim.metadata.deletion_timestamp:
            return
        if is_bound(claim):
            await self._grow(claim)
            return
        storage = self._classes.get(class_of(claim))
        wanted = any(claim.metadata.annotations.get(name) == LOCAL_PROVISIONER for name in STORAGE_PROVISIONER)
        if claim.spec.volume_name or not wanted or storage is None or storage.provisioner != LOCAL_PROVISIONER:
            return
        why = refusal(claim)
        if why:
            self._fail(claim, why)
            return
        node = self._node(claim, storage)
        if node is not None:
            await self._make(claim, storage, node)
        elif SELECTED_NODE in claim.metadata.annotations:
            await self._choose_again(claim)

    def _node(self, claim: PersistentVolumeClaim, storage: StorageClass) -> Node | None:
        chosen = claim.metadata.annotations.get(SELECTED_NODE)
        if chosen is None and storage.volume_binding_mode != DELAYED:
            # Nobody can know where the claim's pods will be wanted: any node that takes pods does.
            able = [n for n in self._nodes.items() if n.ready and not n.spec.unschedulable and _directory(n)]
            return min(able, key=lambda n: (len(self._volumes.by(_ON, n.metadata.name)), n.metadata.name), default=None)
        node = self._nodes.get(chosen) if chosen else None
        return node if node is not None and _directory(node) else None

    async def _make(self, claim: PersistentVolumeClaim, storage: StorageClass, node: Node) -> None:
        volume = volume_of(claim, storage, node)
        try:
            await self._volume_client.create(volume)
        except AlreadyExists:
            return
        words = f"Successfully provisioned volume {volume['metadata']['name']} on node {node.metadata.name}"
        self._record(claim, "ProvisioningSucceeded", words)

    async def _choose_again(self, claim: PersistentVolumeClaim) -> None:
        """The node cannot have such volumes: let the scheduler choose another."""
        chosen = claim.metadata.annotations[SELECTED_NODE]
        self._fail(claim, f'node "{chosen}" does not exist or keeps no local volumes')
        meta = {"resourceVersion": claim.metadata.resource_version, "annotations": {SELECTED_NODE: None}}
        await self._claim_client.patch(claim.metadata, {"metadata": meta})

    async def _grow(self, claim: PersistentVolumeClaim) -> None:
        """Make the volume as large as its claim has become, in name."""
        volume = self._volumes.get(claim.spec.volume_name)
        if volume is None or not node_of(volume) or claim.status.phase != "Bound":
            return
        size = {"storage": claim.spec.resources.requests.get("storage", "0")}
        if requested(claim) > capacity(volume):
            await self._volume_client.patch(volume.metadata, {"spec": {"capacity": size}})
        if requested(claim) > parse(claim.status.capacity.get("storage") or "0"):
            await self._claim_client.patch(claim.metadata, {"status": {"capacity": size}}, subresource="status")
            self._record(claim, "FileSystemResizeSuccessful", f"Volume {volume.metadata.name} is of {size['storage']}")

    async def _volume(self, key: Key) -> None:
        volume = self._volumes.get(key)
        if volume is None or not node_of(volume):
            return
        meta = volume.metadata
        if not meta.deletion_timestamp:
            if volume.status.phase == "Released" and volume.spec.persistent_volume_reclaim_policy == "Delete":
                await self._volume_client.delete(meta)
        elif FINALIZER in meta.finalizers and self._nodes.get(node_of(volume)) is None:
            kept = [name for name in meta.finalizers if name != FINALIZER]
            patch = {"metadata": {"resourceVersion": meta.resource_version, "finalizers": kept}}
            await self._volume_client.patch(meta, patch)

    def _fail(self, claim: PersistentVolumeClaim, why: str) -> None:
        words = f'failed to provision volume with StorageClass "{class_of(claim)}": {why}'
        self._record(claim, "ProvisioningFailed", words, warning=True)

    def _record(self, claim: PersistentVolumeClaim, reason: str, words: str, *, warning: bool = False) -> None:
        about = reference("v1", "PersistentVolumeClaim", claim.metadata)
        self._recorder.record(about, reason, words, warning=warning)


def _directory(node: Node) -> str:
    return node.metadata.annotations.get(DIRECTORY, "")


def _ours(claim: PersistentVolumeClaim) -> Iterable[str]:
    """Claims that ask us, or asked us once."""
    wanted = any(claim.metadata.annotations.get(name) == LOCAL_PROVISIONER for name in STORAGE_PROVISIONER)
    return [claim.metadata.key] if wanted else []


def _made(volume: PersistentVolume) -> Iterable[str]:
    return [volume.metadata.key] if node_of(volume) else []
