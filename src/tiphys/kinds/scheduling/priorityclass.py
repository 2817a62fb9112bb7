"""PriorityClass. Source: https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.declare import declare


class PriorityClass(Model):
    metadata: ObjectMeta = ObjectMeta()
    value: int = 0
    global_default: bool = False
    description: str = ""
    preemption_policy: str = "PreemptLowerPriority"


PRIORITY_CLASSES = declare(
    PriorityClass, group="scheduling.k8s.io", version="v1", kind="PriorityClass", plural="priorityclasses",
    short_names=("pc",), namespaced=False,
)  # fmt: skip
