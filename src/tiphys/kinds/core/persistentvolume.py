"""PersistentVolume. Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tiphys.api import quantity
from tiphys.api.errors import FieldError, forbidden, invalid, required
from tiphys.api.meta import Model, ObjectMeta, ObjectReference
from tiphys.api.resource import Json
from tiphys.kinds.checks import has, immutable, one_of
from tiphys.kinds.columns import AGE, NAME, UNSET, at, column
from tiphys.kinds.core.affinity import NodeSelector
from tiphys.kinds.core.persistentvolumeclaim import check_access_modes, modes_text
from tiphys.kinds.core.placement_validation import check_node_selector
from tiphys.kinds.core.volume import HostPathVolume, NfsVolume
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_text
from tiphys.kinds.strategy import StatusStrategy


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


_NO_SOURCE = (
    "capacity", "accessModes", "claimRef", "persistentVolumeReclaimPolicy", "storageClassName", "mountOptions",
    "volumeMode", "nodeAffinity", "volumeAttributesClassName",
)  # fmt: skip


def _source(spec: Json) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name not in _NO_SOURCE and value is not None}


class PersistentVolumeStrategy(StatusStrategy):
    def default(self, new: Json) -> None:
        spec = new.setdefault("spec", {})
        put_text(spec, "persistentVolumeReclaimPolicy", "Retain")
        put_text(spec, "volumeMode", "Filesystem")
        if spec.get("hostPath") is not None:
            spec["hostPath"].setdefault("type", "")

    def prepare(self, new: Json, old: Json | None) -> None:
        if old is None:
            new["status"] = {"phase": "Pending"}

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        yield from check_access_modes(spec, "spec")
        capacity = spec.get("capacity") or {}
        if "storage" not in capacity:
            yield required("spec.capacity", "storage is required")
        for name, amount in capacity.items():
            if quantity.parse(amount) <= quantity.ZERO:
                yield invalid(f"spec.capacity[{name}]", amount, "must be greater than zero")
        policies = ("Delete", "Recycle", "Retain")
        yield from one_of(spec, "spec", "persistentVolumeReclaimPolicy", policies)
        yield from one_of(spec, "spec", "volumeMode", ("Block", "Filesystem"))
        yield from self._check_source(spec)
        required_ = dig(spec, "nodeAffinity", "required")
        if required_ is not None:
            yield from check_node_selector(required_, "spec.nodeAffinity.required")
        before = (old or {}).get("spec")
        if before is not None and _source(spec) != _source(before):
            yield forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")
        if before is not None:
            yield from immutable(new, old, "spec.volumeMode")
            if before.get("nodeAffinity") and spec.get("nodeAffinity") != before["nodeAffinity"]:
                yield invalid("spec.nodeAffinity", spec.get("nodeAffinity"), "field is immutable")

    @staticmethod
    def _check_source(spec: Json) -> Iterator[FieldError]:
        sources = list(_source(spec))
        if not sources:
            yield required("spec", "must specify a volume type")
        for extra in sources[1:]:
            yield forbidden(f"spec.{extra}", "may not specify more than 1 volume type")
        needed = {"hostPath": ("path",), "local": ("path",), "nfs": ("server", "path"),
                  "csi": ("driver", "volumeHandle")}  # fmt: skip
        for name in sources[:1]:
            yield from has(spec[name], f"spec.{name}", *needed.get(name, ()))
        if spec.get("local") is not None and not spec.get("nodeAffinity"):
            yield required("spec.nodeAffinity", "Local volume requires node affinity")


def _claim(obj: Json) -> str:
    claim = dig(obj, "spec", "claimRef")
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


def _status(obj: Json) -> str:
    return "Terminating" if dig(obj, "metadata", "deletionTimestamp") else dig(obj, "status", "phase") or ""


PERSISTENT_VOLUMES = declare(
    PersistentVolume, group="", version="v1", kind="PersistentVolume", plural="persistentvolumes",
    short_names=("pv",), namespaced=False, status=True,
    columns=(
        NAME, at("Capacity", "spec", "capacity", "storage"),
        column("Access Modes", lambda obj: modes_text(dig(obj, "spec", "accessModes"))),
        at("Reclaim Policy", "spec", "persistentVolumeReclaimPolicy"), column("Status", _status),
        column("Claim", _claim), at("StorageClass", "spec", "storageClassName"),
        at("VolumeAttributesClass", "spec", "volumeAttributesClassName", empty=UNSET), at("Reason", "status", "reason"),
        AGE, at("VolumeMode", "spec", "volumeMode", empty=UNSET, wide=True),
    ),
    strategy=PersistentVolumeStrategy(),
)  # fmt: skip
