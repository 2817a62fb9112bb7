"""CSINode. Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/"""

from __future__ import annotations

from tiphys.kinds.columns import AGE, NAME, column
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig
from tiphys.kinds.strategy import KindStrategy

CSI_NODES = declare(
    group="storage.k8s.io", version="v1", kind="CSINode", plural="csinodes", unconditional_update=False,
    namespaced=False,
    columns=(NAME, column("Drivers", lambda obj: len(dig(obj, "spec", "drivers") or ()), "integer"), AGE),
    strategy=KindStrategy(),
)  # fmt: skip
