"""PriorityLevelConfiguration. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/priority-level-configuration-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError, forbidden, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.columns import AGE, NAME, NONE, at
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_default
from tiphys.kinds.strategy import StatusStrategy


class PriorityLevelStrategy(StatusStrategy):
    def default(self, new: Json) -> None:
        spec = new.get("spec") or {}
        limited = spec.get("limited")
        if limited is not None:
            put_default(limited, "nominalConcurrencyShares", 30)
            put_default(limited, "lendablePercent", 0)
            queuing = dig(limited, "limitResponse", "queuing")
            if queuing is not None:
                for name, value in (("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)):
                    if not queuing.get(name):
                        queuing[name] = value
        if spec.get("exempt") is not None:
            put_default(spec["exempt"], "nominalConcurrencyShares", 0)
            put_default(spec["exempt"], "lendablePercent", 0)

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        kind = spec.get("type") or ""
        if kind not in ("Exempt", "Limited"):
            yield not_supported("spec.type", kind, ("Exempt", "Limited"))
        elif kind == "Limited" and spec.get("limited") is None:
            yield required("spec.limited", "must not be empty when type is Limited")
        elif kind == "Exempt" and spec.get("limited") is not None:
            yield forbidden("spec.limited", "must be nil if the type is not Limited")


_LIMITED = ("spec", "limited")
_QUEUING = (*_LIMITED, "limitResponse", "queuing")


PRIORITY_LEVEL_CONFIGURATIONS = declare(
    group="flowcontrol.apiserver.k8s.io", version="v1",
    kind="PriorityLevelConfiguration", plural="prioritylevelconfigurations",
    namespaced=False, status=True,
    columns=(
        NAME, at("Type", "spec", "type"),
        at("NominalConcurrencyShares", *_LIMITED, "nominalConcurrencyShares", empty=NONE),
        at("Queues", *_QUEUING, "queues", empty=NONE), at("HandSize", *_QUEUING, "handSize", empty=NONE),
        at("QueueLengthLimit", *_QUEUING, "queueLengthLimit", empty=NONE), AGE,
    ),
    strategy=PriorityLevelStrategy(),
)  # fmt: skip
