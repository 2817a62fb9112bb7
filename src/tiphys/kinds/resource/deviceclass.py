"""DeviceClass. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/"""

from __future__ import annotations

from tiphys.kinds.declare import declare
from tiphys.kinds.strategy import KindStrategy

DEVICE_CLASSES = declare(
    group="resource.k8s.io", version="v1", kind="DeviceClass", plural="deviceclasses",
    namespaced=False,
    strategy=KindStrategy(),
)  # fmt: skip
