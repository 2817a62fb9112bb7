"""ResourceClaim. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/"""

from __future__ import annotations

from tiphys.kinds.declare import declare

RESOURCE_CLAIMS = declare(
    group="resource.k8s.io", version="v1", kind="ResourceClaim", plural="resourceclaims",
    status=True,
)  # fmt: skip
