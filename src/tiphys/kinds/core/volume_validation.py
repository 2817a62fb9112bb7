"""Validation of a pod's volumes. Source: upstream's `ValidateVolumes` in `pkg/apis/core/validation/validation.go`."""

from __future__ import annotations

from tiphys.api import names, quantity
from tiphys.api.errors import duplicate, forbidden, invalid, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows, has, one_of
from tiphys.kinds.core.container_validation import relative_path
from tiphys.kinds.core.persistentvolumeclaim import check_claim_spec

HOST_PATH_TYPES = (
    "", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice",
)  # fmt: skip
# Fields without which a source means nothing.
_REQUIRED = {
    "persistentVolumeClaim": ("claimName",),
    "secret": ("secretName",),
    "configMap": ("name",),
    "hostPath": ("path",),
    "nfs": ("server", "path"),
    "csi": ("driver",),
    "iscsi": ("targetPortal", "iqn"),
    "cephfs": ("monitors",),
    "rbd": ("monitors", "image"),
    "gitRepo": ("repository",),
    "glusterfs": ("endpoints", "path"),
    "awsElasticBlockStore": ("volumeID",),
    "gcePersistentDisk": ("pdName",),
    "flexVolume": ("driver",),
}


def check_volumes(volumes: list[Json], path: str) -> Errors:
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        where, name = f"{path}[{index}]", volume.get("name") or ""
        if name:
            yield from follows(name, f"{where}.name", names.dns1123_label)
        else:
            yield required(f"{where}.name")
        if name and name in seen:
            yield duplicate(f"{where}.name", name)
        seen.add(name)
        sources = [source for source, value in volume.items() if source != "name" and value is not None]
        if not sources:
            yield required(where, "must specify a volume type")
        for extra in sources[1:]:
            yield forbidden(f"{where}.{extra}", "may not specify more than 1 volume type")
        for source in sources[:1]:
            yield from _check_source(source, volume[source], f"{where}.{source}")


def _check_source(name: str, source: Json, path: str) -> Errors:
    yield from has(source, path, *_REQUIRED.get(name, ()))
    if name in ("secret", "configMap", "downwardAPI", "projected"):
        yield from _check_mode(source, path, "defaultMode")
        yield from _check_items(source.get("items") or [], f"{path}.items", keyed=name != "downwardAPI")
    if name == "projected":
        for index, projection in enumerate(source.get("sources") or ()):
            yield from _check_projection(projection, f"{path}.sources[{index}]")
    elif name == "hostPath":
        if ".." in (source.get("path") or "").split("/"):
            yield invalid(f"{path}.path", source["path"], "must not contain '..'")
        yield from one_of(source, path, "type", HOST_PATH_TYPES)
    elif name == "emptyDir" and source.get("sizeLimit") is not None:
        if quantity.parse(source["sizeLimit"]) < quantity.ZERO:
            yield forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")
    elif name == "ephemeral":
        template = source.get("volumeClaimTemplate")
        if template is None:
            yield required(f"{path}.volumeClaimTemplate")
        else:
            yield from check_claim_spec(template.get("spec") or {}, f"{path}.volumeClaimTemplate.spec")


def _check_mode(source: Json, path: str, field: str) -> Errors:
    mode = source.get(field)
    if mode is not None and not 0 <= mode <= 0o777:
        yield invalid(f"{path}.{field}", mode, "must be a number between 0 and 0777 (octal), both inclusive")


def _check_items(items: list[Json], path: str, *, keyed: bool = True) -> Errors:
    for index, item in enumerate(items):
        where = f"{path}[{index}]"
        yield from has(item, where, *(("key",) if keyed else ()), "path")
        if item.get("path"):
            yield from relative_path(item["path"], f"{where}.path")
        yield from _check_mode(item, where, "mode")
        if not keyed and not item.get("fieldRef") and not item.get("resourceFieldRef"):
            yield required(where, "one of fieldRef and resourceFieldRef is required")


def _check_projection(projection: Json, path: str) -> Errors:
    sources = [name for name, value in projection.items() if value is not None]
    if not sources:
        yield required(path, "must specify exactly one projection type")
    for extra in sources[1:]:
        yield forbidden(f"{path}.{extra}", "may not specify more than 1 volume type")
    for name in sources[:1]:
        source, where = projection[name], f"{path}.{name}"
        yield from _check_items(source.get("items") or [], f"{where}.items", keyed=name != "downwardAPI")
        if name in ("secret", "configMap"):
            yield from has(source, where, "name")
        elif name == "serviceAccountToken":
            yield from has(source, where, "path")
            seconds = source.get("expirationSeconds", 3600)
            if seconds < 600:
                yield invalid(f"{where}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
            elif seconds > 2**32:
                rule = "may not specify a duration larger than 2^32 seconds"
                yield invalid(f"{where}.expirationSeconds", seconds, rule)
