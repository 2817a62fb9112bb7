"""ConfigMap. Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/config-map-v1/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.declare import declare


class ConfigMap(Model):
    """`binary_data` decodes from base64 to bytes."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = {}
    binary_data: dict[str, bytes] = {}
    immutable: bool = False


CONFIG_MAPS = declare(
    ConfigMap, group="", version="v1", kind="ConfigMap", plural="configmaps", short_names=("cm",)
)  # fmt: skip
