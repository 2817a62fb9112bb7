"""Validation of what steers scheduling: affinity, tolerations, spreading.

Source: upstream's `pkg/apis/core/validation/validation.go`.
"""

from __future__ import annotations

from tiphys.api import names
from tiphys.api.errors import duplicate, forbidden, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows, label_selector, one_of

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_WEIGHT = "must be in the range 1-100"


def check_affinity(affinity: Json, path: str) -> Errors:
    node = affinity.get("nodeAffinity") or {}
    if node.get(_REQUIRED) is not None:
        yield from check_node_selector(node[_REQUIRED], f"{path}.nodeAffinity.{_REQUIRED}")
    for index, term in enumerate(node.get(_PREFERRED) or ()):
        where = f"{path}.nodeAffinity.{_PREFERRED}[{index}]"
        yield from _check_weight(term, where)
        yield from check_term(term.get("preference") or {}, f"{where}.preference")
    for kind in ("podAffinity", "podAntiAffinity"):
        pods = affinity.get(kind) or {}
        for index, term in enumerate(pods.get(_REQUIRED) or ()):
            yield from _check_pod_term(term, f"{path}.{kind}.{_REQUIRED}[{index}]")
        for index, term in enumerate(pods.get(_PREFERRED) or ()):
            where = f"{path}.{kind}.{_PREFERRED}[{index}]"
            yield from _check_weight(term, where)
            yield from _check_pod_term(term.get("podAffinityTerm") or {}, f"{where}.podAffinityTerm")


def _check_weight(term: Json, path: str) -> Errors:
    if not 1 <= (term.get("weight") or 0) <= 100:
        yield invalid(f"{path}.weight", term.get("weight") or 0, _WEIGHT)


def check_node_selector(selector: Json, path: str) -> Errors:
    terms = selector.get("nodeSelectorTerms") or []
    if not terms:
        yield required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
    for index, term in enumerate(terms):
        yield from check_term(term, f"{path}.nodeSelectorTerms[{index}]")


def check_term(term: Json, path: str) -> Errors:
    for index, expression in enumerate(term.get("matchExpressions") or ()):
        where = f"{path}.matchExpressions[{index}]"
        operator, values = expression.get("operator", ""), expression.get("values") or []
        if operator in ("In", "NotIn"):
            if not values:
                yield required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                yield forbidden(f"{where}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        elif operator in ("Gt", "Lt"):
            if len(values) != 1:
                yield required(f"{where}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
        else:
            yield invalid(f"{where}.operator", operator, "not a valid selector operator")
        yield from follows(expression.get("key", ""), f"{where}.key", names.label_key)
    for index, field in enumerate(term.get("matchFields") or ()):
        where = f"{path}.matchFields[{index}]"
        if field.get("key") != "metadata.name":
            yield not_supported(f"{where}.key", field.get("key"), ("metadata.name",))
        if len(field.get("values") or ()) != 1:
            rule = "must be only one value when `operator` is 'In' or 'NotIn' for node field"
            yield required(f"{where}.values", rule)


def _check_pod_term(term: Json, path: str) -> Errors:
    yield from label_selector(term.get("labelSelector"), f"{path}.labelSelector")
    yield from label_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for index, namespace in enumerate(term.get("namespaces") or ()):
        yield from follows(namespace, f"{path}.namespaces[{index}]", names.dns1123_label)
    if not term.get("topologyKey"):
        yield required(f"{path}.topologyKey", "can not be empty")
    else:
        yield from follows(term["topologyKey"], f"{path}.topologyKey", names.label_key)


def check_tolerations(tolerations: list[Json], path: str) -> Errors:
    for index, toleration in enumerate(tolerations):
        where = f"{path}[{index}]"
        key, operator = toleration.get("key") or "", toleration.get("operator") or ""
        if key:
            yield from follows(key, f"{where}.key", names.label_key)
        elif operator != "Exists":
            rule = "operator must be Exists when `key` is empty, which means \"match all values and all keys\""
            yield invalid(f"{where}.operator", operator, rule)
        if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
            rule = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            yield invalid(f"{where}.effect", toleration.get("effect") or "", rule)
        if operator in ("", "Equal"):
            yield from follows(toleration.get("value") or "", f"{where}.operator", names.label_value)
        elif operator == "Exists":
            if toleration.get("value"):
                yield invalid(f"{where}.operator", toleration, "value must be empty when `operator` is 'Exists'")
        elif operator not in ("Lt", "Gt"):
            yield not_supported(f"{where}.operator", operator, ("Equal", "Exists"))
        if toleration.get("effect"):
            yield from one_of(toleration, where, "effect", EFFECTS)


def check_spread(constraints: list[Json], path: str) -> Errors:
    seen: set[tuple[str, str]] = set()
    for index, constraint in enumerate(constraints):
        where = f"{path}[{index}]"
        if (constraint.get("maxSkew") or 0) <= 0:
            yield invalid(f"{where}.maxSkew", constraint.get("maxSkew") or 0, "must be greater than zero")
        if not constraint.get("topologyKey"):
            yield required(f"{where}.topologyKey", "can not be empty")
        unsatisfiable = constraint.get("whenUnsatisfiable") or ""
        if unsatisfiable not in ("DoNotSchedule", "ScheduleAnyway"):
            yield not_supported(f"{where}.whenUnsatisfiable", unsatisfiable, ("DoNotSchedule", "ScheduleAnyway"))
        pair = (constraint.get("topologyKey") or "", unsatisfiable)
        if pair in seen:
            yield duplicate(f"{where}.{{topologyKey, whenUnsatisfiable}}", f"{{{pair[0]}, {pair[1]}}}")
        seen.add(pair)
        domains = constraint.get("minDomains")
        if domains is not None and domains <= 0:
            yield invalid(f"{where}.minDomains", domains, "must be greater than 0")
        if domains is not None and unsatisfiable != "DoNotSchedule":
            rule = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {unsatisfiable}"
            yield invalid(f"{where}.minDomains", domains, rule)
        for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            yield from one_of(constraint, where, field, ("Honor", "Ignore"))
        yield from label_selector(constraint.get("labelSelector"), f"{where}.labelSelector")
