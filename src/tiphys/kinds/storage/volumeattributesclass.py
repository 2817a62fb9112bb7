"""VolumeAttributesClass. Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/"""

from __future__ import annotations

from tiphys.kinds.declare import declare

VOLUME_ATTRIBUTES_CLASSES = declare(
    group="storage.k8s.io", version="v1", kind="VolumeAttributesClass", plural="volumeattributesclasses",
    short_names=("vac",), namespaced=False,
)  # fmt: skip
