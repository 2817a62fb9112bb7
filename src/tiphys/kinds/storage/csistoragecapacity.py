"""CSIStorageCapacity. Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/"""

from __future__ import annotations

from tiphys.kinds.declare import declare

CSI_STORAGE_CAPACITIES = declare(
    group="storage.k8s.io", version="v1", kind="CSIStorageCapacity", plural="csistoragecapacities",
)  # fmt: skip
