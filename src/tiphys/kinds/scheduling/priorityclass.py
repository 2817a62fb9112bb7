"""PriorityClass. Source: https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError, forbidden
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import immutable, one_of
from tiphys.kinds.columns import AGE, NAME, at, flag, number
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import put_text
from tiphys.kinds.strategy import KindStrategy


class PriorityClass(Model):
    metadata: ObjectMeta = ObjectMeta()
    value: int = 0
    global_default: bool = False
    description: str = ""
    preemption_policy: str = "PreemptLowerPriority"


_HIGHEST = 1_000_000_000
SYSTEM = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


class PriorityClassStrategy(KindStrategy):
    def default(self, new: Json) -> None:
        put_text(new, "preemptionPolicy", "PreemptLowerPriority")

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        value = new.get("value") or 0
        if old is not None:
            if (old.get("value") or 0) != value:
                yield forbidden("value", "may not be changed in an update.")
            yield from immutable(new, old, "preemptionPolicy")
            return
        name = (new.get("metadata") or {}).get("name") or ""
        if name.startswith("system-"):
            problem = _system_problem(name, value, shared=bool(new.get("globalDefault")))
            if problem:
                rule = "priority class names with 'system-' prefix are reserved for system use only"
                yield forbidden("metadata.name", f"{rule}. error: {problem}")
        elif value > _HIGHEST:
            rule = f"maximum allowed value of a user defined priority is {_HIGHEST}"
            yield forbidden("value", rule)
        yield from one_of(new, "", "preemptionPolicy", ("PreemptLowerPriority", "Never"))


def _system_problem(name: str, value: int, *, shared: bool) -> str:
    known = SYSTEM.get(name)
    if known is None:
        return f"{name} is not a known system priority class"
    if known != value:
        return f"value of {name} PriorityClass must be {known}"
    return f"globalDefault of {name} PriorityClass must be false" if shared else ""


PRIORITY_CLASSES = declare(
    PriorityClass, group="scheduling.k8s.io", version="v1", kind="PriorityClass", plural="priorityclasses",
    short_names=("pc",), namespaced=False,
    columns=(
        NAME, number("Value", "value"), flag("Global-Default", "globalDefault"), AGE,
        at("PreemptionPolicy", "preemptionPolicy"),
    ),
    strategy=PriorityClassStrategy(),
)  # fmt: skip
