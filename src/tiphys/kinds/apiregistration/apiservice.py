"""APIService. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/api-service-v1/"""

from __future__ import annotations

from tiphys.kinds.declare import declare

API_SERVICES = declare(
    group="apiregistration.k8s.io", version="v1", kind="APIService", plural="apiservices",
    categories=("api-extensions",), namespaced=False, status=True,
)  # fmt: skip
