"""RuntimeClass. Source: https://kubernetes.io/docs/concepts/containers/runtime-class/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import follows, immutable
from tiphys.kinds.columns import AGE, NAME, at
from tiphys.kinds.core.affinity import Toleration
from tiphys.kinds.core.node_labels import selector_warnings
from tiphys.kinds.core.placement_validation import check_tolerations
from tiphys.kinds.core.resource_validation import check_requirements
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig
from tiphys.kinds.strategy import KindStrategy


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


class RuntimeClassStrategy(KindStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        if old is not None:
            yield from immutable(new, old, "handler")
            return
        yield from follows(new.get("handler") or "", "handler", names.dns1123_label)
        overhead, scheduling = new.get("overhead"), new.get("scheduling") or {}
        if overhead is not None:
            yield from check_requirements({"limits": overhead.get("podFixed")}, "overhead")
        yield from names.validate_labels(scheduling.get("nodeSelector") or {}, "scheduling.nodeSelector")
        yield from check_tolerations(scheduling.get("tolerations") or [], "scheduling.tolerations")

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        yield from selector_warnings(dig(new, "scheduling", "nodeSelector") or {}, "scheduling.nodeSelector")


RUNTIME_CLASSES = declare(
    RuntimeClass, group="node.k8s.io", version="v1", kind="RuntimeClass", plural="runtimeclasses", namespaced=False,
    unconditional_update=False,
    columns=(NAME, at("Handler", "handler"), AGE), strategy=RuntimeClassStrategy(),
)  # fmt: skip
