"""FlowSchema. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/flow-schema-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, invalid, not_supported, required
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import follows
from tiphys.kinds.columns import AGE, NAME, NONE, at, column, number
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_default
from tiphys.kinds.flowcontrol.mandatory import FLOW_SCHEMAS as FIXED
from tiphys.kinds.flowcontrol.mandatory import check_fixed
from tiphys.kinds.flowcontrol.rules import check_condition_types, check_rule
from tiphys.kinds.strategy import StatusStrategy


class PriorityLevelReference(Model):
    name: str = ""


class FlowSchemaSpec(Model):
    priority_level_configuration: PriorityLevelReference = PriorityLevelReference()


class FlowSchemaCondition(Model):
    type: str
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None


class FlowSchemaStatus(Model):
    conditions: list[FlowSchemaCondition] = []


class FlowSchema(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: FlowSchemaSpec = FlowSchemaSpec()
    status: FlowSchemaStatus = FlowSchemaStatus()


class FlowSchemaStrategy(StatusStrategy):
    def default(self, new: Json) -> None:
        put_default(new.setdefault("spec", {}), "matchingPrecedence", 1000)

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        if old is None or spec != old.get("spec"):
            name = dig(new, "metadata", "name") or ""
            yield from _check_spec(spec, name)
            yield from check_fixed(name, spec, FIXED)
        if old is not None:
            yield from check_condition_types(dig(new, "status", "conditions") or [], "status.conditions")


def _check_spec(spec: Json, name: str) -> Iterator[FieldError]:
    precedence, where = spec.get("matchingPrecedence") or 0, "spec.matchingPrecedence"
    if precedence <= 0:
        yield invalid(where, precedence, "must be a positive value")
    if precedence > _MAX_PRECEDENCE:
        yield invalid(where, precedence, f"must not be greater than {_MAX_PRECEDENCE}")
    if precedence == 1 and name != "exempt":
        yield invalid(where, precedence, "only the schema named 'exempt' may have matchingPrecedence 1")
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in ("ByNamespace", "ByUser"):
        shown = {"Type": method.get("type") or ""}
        yield not_supported("spec.distinguisherMethod.type", shown, ("ByNamespace", "ByUser"))
    level, where = dig(spec, "priorityLevelConfiguration", "name") or "", "spec.priorityLevelConfiguration.name"
    if level:
        yield from follows(level, where, names.dns1123_subdomain)
    else:
        yield required(where, "must reference a priority level")
    for index, rule in enumerate(spec.get("rules") or ()):
        yield from check_rule(rule, f"spec.rules[{index}]")


_MAX_PRECEDENCE = 10000


def _missing(obj: Json) -> str:
    for condition in dig(obj, "status", "conditions") or ():
        if condition.get("type") == "Dangling":
            return str(condition.get("status") or "?")
    return "?"


FLOW_SCHEMAS = declare(
    FlowSchema, group="flowcontrol.apiserver.k8s.io", version="v1", kind="FlowSchema", plural="flowschemas",
    namespaced=False, status=True,
    columns=(
        NAME, at("PriorityLevel", "spec", "priorityLevelConfiguration", "name"),
        number("MatchingPrecedence", "spec", "matchingPrecedence"),
        at("DistinguisherMethod", "spec", "distinguisherMethod", "type", empty=NONE), AGE,
        column("MissingPL", _missing),
    ),
    strategy=FlowSchemaStrategy(),
)  # fmt: skip
