"""StorageClass. Source: https://kubernetes.io/docs/concepts/storage/storage-classes/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.declare import declare

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


class StorageClass(Model):
    metadata: ObjectMeta = ObjectMeta()
    provisioner: str = ""
    parameters: dict[str, str] = {}
    reclaim_policy: str = "Delete"
    mount_options: list[str] = []
    allow_volume_expansion: bool = False
    volume_binding_mode: str = "Immediate"

    @property
    def default(self) -> bool:
        return self.metadata.annotations.get(DEFAULT_CLASS) == "true"


STORAGE_CLASSES = declare(
    StorageClass, group="storage.k8s.io", version="v1", kind="StorageClass", plural="storageclasses",
    short_names=("sc",), namespaced=False,
)  # fmt: skip
