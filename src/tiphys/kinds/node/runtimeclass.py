"""RuntimeClass. Source: https://kubernetes.io/docs/concepts/containers/runtime-class/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import follows, immutable, quantities
from tiphys.kinds.columns import AGE, NAME, at
from tiphys.kinds.core.affinity import Toleration
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
        yield from follows(new.get("handler") or "", "handler", names.dns1123_label)
        yield from quantities(dig(new, "overhead", "podFixed"), "overhead.podFixed")
        yield from immutable(new, old, "handler")


RUNTIME_CLASSES = declare(
    RuntimeClass, group="node.k8s.io", version="v1", kind="RuntimeClass", plural="runtimeclasses", namespaced=False,
    unconditional_update=False,
    columns=(NAME, at("Handler", "handler"), AGE), strategy=RuntimeClassStrategy(),
)  # fmt: skip
