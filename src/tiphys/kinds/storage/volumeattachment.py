"""VolumeAttachment. Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/"""

from __future__ import annotations

from tiphys.kinds.declare import declare

VOLUME_ATTACHMENTS = declare(
    group="storage.k8s.io", version="v1", kind="VolumeAttachment", plural="volumeattachments",
    namespaced=False, status=True,
)  # fmt: skip
