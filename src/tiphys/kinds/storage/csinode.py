"""CSINode. Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/"""

from __future__ import annotations

from tiphys.kinds.declare import declare

CSI_NODES = declare(
    group="storage.k8s.io", version="v1", kind="CSINode", plural="csinodes",
    namespaced=False,
)  # fmt: skip
