"""PersistentVolume. Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from tiphys.api import names, quantity
from tiphys.api.errors import FieldError, forbidden, invalid, not_supported, required
from tiphys.api.meta import Model, ObjectMeta, ObjectReference
from tiphys.api.resource import Json
from tiphys.kinds.checks import IMMUTABLE, follows, one_of
from tiphys.kinds.columns import AGE, NAME, UNSET, at, column
from tiphys.kinds.core.affinity import NodeSelector
from tiphys.kinds.core.claim_validation import check_access_modes
from tiphys.kinds.core.claim_warnings import class_annotation_warnings
from tiphys.kinds.core.node_labels import term_warnings
from tiphys.kinds.core.persistentvolumeclaim import modes_text
from tiphys.kinds.core.placement_validation import check_node_selector
from tiphys.kinds.core.resource_validation import check_positive
from tiphys.kinds.core.volume import HostPathVolume, NfsVolume
from tiphys.kinds.core.volume_sources import SOURCES, more_than_one, portal_problem
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
        spec, before = new.get("spec") or {}, (old or {}).get("spec")
        if before is not None and spec == before:
            return
        yield from _check_spec(spec, dig(new, "metadata", "name") or "")
        if before is not None:
            yield from _check_update(spec, before)

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        yield from class_annotation_warnings(new)
        spec = new.get("spec") or {}
        for index, term in enumerate(dig(spec, "nodeAffinity", "required", "nodeSelectorTerms") or ()):
            yield from term_warnings(term, f"spec.nodeAffinity.required.nodeSelectorTerms[{index}]")
        if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
            instead = "Instead, the recommended approach is to use dynamic provisioning."
            yield f"spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. {instead}"
        storage = dig(spec, "capacity", "storage")
        if storage is not None and quantity.parse(storage).milli() % 1000:
            yield f'spec.capacity[storage]: fractional byte value "{storage}" is invalid, must be an integer'
        for name in _source(spec):
            if name in _DEPRECATED:
                yield f"spec.{'storageOS' if name == 'storageos' else name}: {_DEPRECATED[name]}"


_DEPRECATED = {
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}


def _check_spec(spec: Json, name: str) -> Iterator[FieldError]:
    if not spec.get("accessModes"):
        yield required("spec.accessModes")
    yield from check_access_modes(spec, "spec")
    capacity = spec.get("capacity") or {}
    if not capacity:
        yield required("spec.capacity")
    if list(capacity) != ["storage"]:
        yield not_supported("spec.capacity", capacity or None, ("storage",))
    for resource, amount in capacity.items():
        if quantity.parse(amount).value() < 0:
            rule = "must be a valid resource quantity"
            yield invalid(f"spec.capacity[{resource}]", quantity.parse(amount).value(), rule)
        yield from check_positive(amount, f"spec.capacity[{resource}]")
    yield from one_of(spec, "spec", "persistentVolumeReclaimPolicy", ("Delete", "Recycle", "Retain"))
    affinity = spec.get("nodeAffinity")
    if affinity is not None:
        if affinity.get("required") is None:
            yield required("spec.nodeAffinity.required", "must specify required node constraints")
        else:
            yield from check_node_selector(affinity["required"], "spec.nodeAffinity.required")
    yield from _check_source(spec, name)
    yield from _check_classes(spec)


def _check_source(spec: Json, name: str) -> Iterator[FieldError]:
    sources = [source for source in SOURCES if spec.get(source) is not None]
    if not sources:
        yield required("spec", "must specify a volume type")
    for source in sources[:1]:
        yield from SOURCES[source](spec[source], f"spec.{source}", True)
    for extra in sources[1:]:
        yield from more_than_one(extra, "spec")
    if spec.get("iscsi") is not None:
        problem = portal_problem(name, spec["iscsi"])
        if problem:
            yield invalid("spec.iscsi.targetportal", spec["iscsi"].get("targetPortal") or "", problem)
    if spec.get("local") is not None and spec.get("nodeAffinity") is None:
        yield required("spec.nodeAffinity", "Local volume requires node affinity")
    host = dig(spec, "hostPath", "path")
    if host and posixpath.normpath(host) == "/" and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        rule = "may not be 'recycle' for a hostPath mount of '/'"
        yield forbidden("spec.persistentVolumeReclaimPolicy", rule)


def _check_classes(spec: Json) -> Iterator[FieldError]:
    if spec.get("storageClassName"):
        yield from follows(spec["storageClassName"], "spec.storageClassName", names.dns1123_subdomain)
    yield from one_of(spec, "spec", "volumeMode", ("Block", "Filesystem"))
    chosen, where = spec.get("volumeAttributesClassName"), "spec.volumeAttributesClassName"
    if chosen is None:
        return
    if not chosen:
        yield required(where, "an empty string is disallowed")
    else:
        yield from follows(chosen, where, names.dns1123_subdomain)
    if spec.get("csi") is None:
        yield required("spec.csi", "has to be specified when using volumeAttributesClassName")


def _check_update(spec: Json, before: Json) -> Iterator[FieldError]:
    """The paths are upstream's, which leaves the spec out of two of them."""
    source, was = _source(spec), _source(before)
    if dig(was, "csi") is not None and dig(was, "csi", "controllerExpandSecretRef") is None and source.get("csi"):
        source["csi"] = {key: value for key, value in source["csi"].items() if key != "controllerExpandSecretRef"}
    if source != was:
        yield forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")
    if spec.get("volumeMode") != before.get("volumeMode"):
        yield invalid("volumeMode", spec.get("volumeMode"), IMMUTABLE)
    if before.get("nodeAffinity") is not None and _stable(before["nodeAffinity"]) != _stable(spec.get("nodeAffinity")):
        rule = f"{IMMUTABLE}, except for updating from beta label to GA"
        yield invalid("nodeAffinity", spec.get("nodeAffinity"), rule)
    if before.get("volumeAttributesClassName") is not None and spec.get("volumeAttributesClassName") is None:
        yield forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden")


_STABLE_LABELS = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}


def _stable(value: Any) -> Any:
    """A node affinity with the labels' present names."""
    if isinstance(value, dict):
        return {
            key: _STABLE_LABELS.get(item, item) if key == "key" and isinstance(item, str) else _stable(item)
            for key, item in value.items()
        }
    return [_stable(item) for item in value] if isinstance(value, list) else value


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
