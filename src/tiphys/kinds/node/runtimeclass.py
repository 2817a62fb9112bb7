"""RuntimeClass. Source: https://kubernetes.io/docs/concepts/containers/runtime-class/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.core.affinity import Toleration
from tiphys.kinds.declare import declare


class Overhead(Model):
    pod_fixed: dict[str, str] = {}


class RuntimeScheduling(Model):
    node_selector: dict[str, str] = {}
    tolerations: list[Toleration] = []


class RuntimeClass(Model):
    metadata: ObjectMeta = ObjectMeta()
    handler: str = ""
    overhead: Overhead | None = None
    scheduling: RuntimeScheduling | None = None


RUNTIME_CLASSES = declare(
    RuntimeClass, group="node.k8s.io", version="v1", kind="RuntimeClass", plural="runtimeclasses", namespaced=False
)
