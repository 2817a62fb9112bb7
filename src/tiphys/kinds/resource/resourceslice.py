"""ResourceSlice. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/"""

from __future__ import annotations

from tiphys.kinds.declare import declare

RESOURCE_SLICES = declare(
    group="resource.k8s.io", version="v1", kind="ResourceSlice", plural="resourceslices",
    namespaced=False,
)  # fmt: skip
