"""DeviceClass. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/"""

from __future__ import annotations

from tiphys.kinds.declare import declare

DEVICE_CLASSES = declare(
    group="resource.k8s.io", version="v1", kind="DeviceClass", plural="deviceclasses",
    namespaced=False,
)  # fmt: skip
