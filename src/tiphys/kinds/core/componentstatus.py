"""ComponentStatus. Source: https://kubernetes.io/docs/reference/kubernetes-api/"""

from __future__ import annotations

from tiphys.kinds.declare import declare

COMPONENT_STATUSES = declare(
    group="", version="v1", kind="ComponentStatus", plural="componentstatuses",
    short_names=("cs",), namespaced=False, verbs=("get", "list"), virtual=True,
)  # fmt: skip
