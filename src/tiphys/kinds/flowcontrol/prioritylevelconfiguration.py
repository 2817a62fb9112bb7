"""PriorityLevelConfiguration. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/priority-level-configuration-v1/"""

from __future__ import annotations

from tiphys.kinds.declare import declare

PRIORITY_LEVEL_CONFIGURATIONS = declare(
    group="flowcontrol.apiserver.k8s.io", version="v1",
    kind="PriorityLevelConfiguration", plural="prioritylevelconfigurations",
    namespaced=False, status=True,
)  # fmt: skip
