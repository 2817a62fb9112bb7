"""FlowSchema. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/flow-schema-v1/"""

from __future__ import annotations

from tiphys.kinds.declare import declare

FLOW_SCHEMAS = declare(
    group="flowcontrol.apiserver.k8s.io", version="v1", kind="FlowSchema", plural="flowschemas",
    namespaced=False, status=True,
)  # fmt: skip
