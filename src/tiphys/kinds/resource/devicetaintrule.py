"""DeviceTaintRule. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/"""

from __future__ import annotations

from tiphys.kinds.declare import declare
from tiphys.kinds.strategy import StatusStrategy

DEVICE_TAINT_RULES = declare(
    group="resource.k8s.io", version="v1beta2", kind="DeviceTaintRule", plural="devicetaintrules",
    namespaced=False, status=True,
    strategy=StatusStrategy(),
)  # fmt: skip
