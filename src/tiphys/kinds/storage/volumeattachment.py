"""VolumeAttachment. Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, forbidden, invalid, required, too_long
from tiphys.api.resource import Json
from tiphys.kinds.checks import follows, immutable
from tiphys.kinds.columns import AGE, NAME, at, flag
from tiphys.kinds.core.volume_sources import SOURCES, check_driver_name
from tiphys.kinds.declare import declare
from tiphys.kinds.storage.parameters import map_size
from tiphys.kinds.strategy import StatusStrategy


class VolumeAttachmentStrategy(StatusStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        if old is None:
            yield from _check_spec(spec)
        elif spec != old.get("spec"):
            yield from _check_spec(spec)
            yield from immutable(new, old, "spec")
        status = new.get("status") or {}
        if old is not None and status != (old.get("status") or {}):
            yield from _check_status(status)


def _check_spec(spec: Json) -> Iterator[FieldError]:
    yield from check_driver_name(spec.get("attacher") or "", "spec.attacher")
    source = spec.get("source") or {}
    inline, volume = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    rule = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
    if inline is None and volume is None:
        yield required("spec.source", rule)
    elif inline is not None and volume is not None:
        yield forbidden("spec.source", rule)
    elif inline is not None:
        yield from _check_inline(inline)
    elif not volume:
        yield required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName")
    else:
        yield from follows(volume, "spec.source.persistentVolumeName", names.dns1123_subdomain)
    yield from follows(spec.get("nodeName") or "", "spec.nodeName", names.dns1123_subdomain)


def _check_inline(spec: Json) -> Iterator[FieldError]:
    path = "spec.source.inlineVolumeSpec"
    for field in ("claimRef", "capacity"):
        if spec.get(field):
            yield forbidden(f"{path}.{field}", "may not be specified in the context of inline volumes")
    if spec.get("csi") is None:
        yield required(f"{path}.csi", "has to be specified in the context of inline volumes")
    elif not spec.get("accessModes"):
        yield required(f"{path}.accessModes")
    else:
        yield from SOURCES["csi"](spec["csi"], f"{path}.csi", True)


def _check_status(status: Json) -> Iterator[FieldError]:
    if map_size(status.get("attachmentMetadata") or {}) > _MAX_METADATA:
        yield too_long("status.attachmentMetadata", _MAX_METADATA)
    for field in ("attachError", "detachError"):
        error = status.get(field) or {}
        if len((error.get("message") or "").encode()) > _MAX_MESSAGE:
            yield too_long(f"status.{field}.message", _MAX_METADATA)  # upstream names this limit
        code = error.get("errorCode")
        if code is not None and code < 0:
            yield invalid(f"status.{field}.errorCode", code, "must be between 0 and 2147483647, inclusive")


_MAX_METADATA, _MAX_MESSAGE = 256 * 1024, 1024


VOLUME_ATTACHMENTS = declare(
    group="storage.k8s.io", version="v1", kind="VolumeAttachment", plural="volumeattachments",
    unconditional_update=False,
    namespaced=False, status=True,
    columns=(
        NAME, at("Attacher", "spec", "attacher"), at("PV", "spec", "source", "persistentVolumeName"),
        at("Node", "spec", "nodeName"), flag("Attached", "status", "attached"), AGE,
    ),
    strategy=VolumeAttachmentStrategy(),
)  # fmt: skip
