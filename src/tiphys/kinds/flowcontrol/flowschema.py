"""FlowSchema. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/flow-schema-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError, invalid
from tiphys.api.resource import Json
from tiphys.kinds.checks import has, one_of
from tiphys.kinds.columns import AGE, NAME, NONE, at, column, number
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_default
from tiphys.kinds.strategy import StatusStrategy


class FlowSchemaStrategy(StatusStrategy):
    def default(self, new: Json) -> None:
        put_default(new.setdefault("spec", {}), "matchingPrecedence", 1000)

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        precedence = spec.get("matchingPrecedence") or 0
        if not 1 <= precedence <= 10000:
            yield invalid("spec.matchingPrecedence", precedence, "must be a value between 1 and 10000")
        yield from has(spec.get("priorityLevelConfiguration") or {}, "spec.priorityLevelConfiguration", "name")
        method = spec.get("distinguisherMethod")
        if method is not None:
            yield from one_of(method, "spec.distinguisherMethod", "type", ("ByNamespace", "ByUser"))


def _missing(obj: Json) -> str:
    for condition in dig(obj, "status", "conditions") or ():
        if condition.get("type") == "Dangling":
            return str(condition.get("status") or "?")
    return "?"


FLOW_SCHEMAS = declare(
    group="flowcontrol.apiserver.k8s.io", version="v1", kind="FlowSchema", plural="flowschemas",
    namespaced=False, status=True,
    columns=(
        NAME, at("PriorityLevel", "spec", "priorityLevelConfiguration", "name"),
        number("MatchingPrecedence", "spec", "matchingPrecedence"),
        at("DistinguisherMethod", "spec", "distinguisherMethod", "type", empty=NONE), AGE,
        column("MissingPL", _missing),
    ),
    strategy=FlowSchemaStrategy(),
)  # fmt: skip
