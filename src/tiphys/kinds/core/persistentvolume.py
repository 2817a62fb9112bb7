"""PersistentVolume. Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta, ObjectReference
from tiphys.kinds.core.affinity import NodeSelector
from tiphys.kinds.core.volume import HostPathVolume, NfsVolume
from tiphys.kinds.declare import declare


class LocalVolume(Model):
    path: str
    fs_type: str | None = None


class CsiPersistentVolume(Model):
    driver: str
    volume_handle: str
    read_only: bool = False
    fs_type: str = ""
    volume_attributes: dict[str, str] = {}


class VolumeNodeAffinity(Model):
    required: NodeSelector | None = None


class PersistentVolumeSpec(Model):
    capacity: dict[str, str] = {}
    access_modes: list[str] = []
    claim_ref: ObjectReference | None = None
    persistent_volume_reclaim_policy: str = "Retain"
    storage_class_name: str = ""
    volume_attributes_class_name: str | None = None
    mount_options: list[str] = []
    volume_mode: str = "Filesystem"
    node_affinity: VolumeNodeAffinity | None = None
    host_path: HostPathVolume | None = None
    local: LocalVolume | None = None
    nfs: NfsVolume | None = None
    csi: CsiPersistentVolume | None = None


class PersistentVolumeStatus(Model):
    phase: str = "Pending"
    message: str = ""
    reason: str = ""


class PersistentVolume(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: PersistentVolumeSpec = PersistentVolumeSpec()
    status: PersistentVolumeStatus = PersistentVolumeStatus()


PERSISTENT_VOLUMES = declare(
    PersistentVolume, group="", version="v1", kind="PersistentVolume", plural="persistentvolumes",
    short_names=("pv",), namespaced=False, status=True,
)  # fmt: skip
