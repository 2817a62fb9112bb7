"""VolumeAttachment. Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError
from tiphys.api.resource import Json
from tiphys.kinds.checks import has, immutable
from tiphys.kinds.columns import AGE, NAME, at, flag
from tiphys.kinds.declare import declare
from tiphys.kinds.strategy import StatusStrategy


class VolumeAttachmentStrategy(StatusStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        yield from has(new.get("spec") or {}, "spec", "attacher", "nodeName", "source")
        yield from immutable(new, old, "spec")


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
