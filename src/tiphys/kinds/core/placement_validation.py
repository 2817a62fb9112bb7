"""Validation of what steers scheduling: affinity, tolerations, spreading.

Source: upstream's `pkg/apis/core/validation/validation.go`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tiphys.api import names
from tiphys.api.errors import duplicate, forbidden, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows, label_selector, one_of

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_WEIGHT = "must be in the range 1-100"
_OPERATOR = "not a valid selector operator"
_TWICE = "exists in both matchLabelKeys and labelSelector"


def check_affinity(affinity: Json, path: str) -> Errors:
    node = affinity.get("nodeAffinity") or {}
    if node.get(_REQUIRED) is not None:
        yield from check_node_selector(node[_REQUIRED], f"{path}.nodeAffinity.{_REQUIRED}")
    for index, term in enumerate(node.get(_PREFERRED) or ()):
        where = f"{path}.nodeAffinity.{_PREFERRED}[{index}]"
        yield from _check_weight(term, where)
        yield from check_term(term.get("preference") or {}, f"{where}.preference", values=False)
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


def check_term(term: Json, path: str, *, values: bool = True) -> Errors:
    """A NodeSelectorTerm; `values`: whether those of its expressions must be legal as labels' are."""
    for index, expression in enumerate(term.get("matchExpressions") or ()):
        yield from _check_expression(expression, f"{path}.matchExpressions[{index}]", values=values)
    for index, field in enumerate(term.get("matchFields") or ()):
        yield from _check_field(field, f"{path}.matchFields[{index}]")


def _check_expression(expression: Json, path: str, *, values: bool) -> Errors:
    operator, given = expression.get("operator", ""), expression.get("values") or []
    if operator in ("In", "NotIn"):
        if not given:
            yield required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist"):
        if given:
            yield forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    elif operator in ("Gt", "Lt"):
        if len(given) != 1:
            yield required(f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
    else:
        yield invalid(f"{path}.operator", operator, _OPERATOR)
    yield from follows(expression.get("key", ""), f"{path}.key", names.label_key)
    for index, value in enumerate(given if values else ()):
        yield from follows(value, f"{path}.values[{index}]", names.label_value)


def _check_field(field: Json, path: str) -> Errors:
    operator, given = field.get("operator", ""), field.get("values") or []
    if operator not in ("In", "NotIn"):
        yield invalid(f"{path}.operator", operator, _OPERATOR)
    elif len(given) != 1:
        rule = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        yield required(f"{path}.values", rule)
    if field.get("key") != "metadata.name":
        yield invalid(f"{path}.key", field.get("key") or "", "not a valid field selector key")
        return
    for index, value in enumerate(given):
        yield from follows(value, f"{path}.values[{index}]", names.dns1123_subdomain)


def _check_pod_term(term: Json, path: str) -> Errors:
    selector = term.get("labelSelector")
    yield from label_selector(selector, f"{path}.labelSelector")
    yield from label_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for namespace in term.get("namespaces") or ():
        # Upstream names the field in the singular and no index.
        yield from follows(namespace, f"{path}.namespace", names.dns1123_label)
    if term.get("matchLabelKeys") or term.get("mismatchLabelKeys"):
        yield from _check_label_keys(term, selector, path)
    if not term.get("topologyKey"):
        yield required(f"{path}.topologyKey", "can not be empty")
    yield from follows(term.get("topologyKey") or "", f"{path}.topologyKey", names.label_key)


def _check_label_keys(term: Json, selector: Json | None, path: str) -> Errors:
    same, other = term.get("matchLabelKeys") or [], term.get("mismatchLabelKeys") or []
    for field, keys in (("matchLabelKeys", same), ("mismatchLabelKeys", other)):
        if keys and selector is None:
            yield forbidden(f"{path}.{field}", "must not be specified when labelSelector is not set")
        for index, key in enumerate(keys if selector is not None else ()):
            yield from follows(key, f"{path}.{field}[{index}]", names.label_key)
    for position in _selected_twice(same, selector):
        yield invalid(f"{path}[{position}]", same[position], _TWICE)
    for index, key in enumerate(same):
        if key in other:
            rule = "exists in both matchLabelKeys and mismatchLabelKeys"
            yield invalid(f"{path}.matchLabelKeys[{index}]", key, rule)


def _selected_twice(keys: list[str], selector: Json | None) -> Iterator[int]:
    """Positions of keys that the selector has besides the expression that the server makes of them, which is last."""
    known = set((selector or {}).get("matchLabels") or ())
    for expression in (selector or {}).get("matchExpressions") or ():
        key = expression.get("key") or ""
        if key in keys and key in known:
            yield keys.index(key)
        known.add(key)


def check_tolerations(tolerations: list[Json], path: str) -> Errors:
    for index, toleration in enumerate(tolerations):
        where = f"{path}[{index}]"
        key, operator = toleration.get("key"), toleration.get("operator") or ""
        if key:
            for problem in names.label_key(key):
                yield invalid(f"{where}.key", key, problem)
        elif operator != "Exists":
            rule = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield invalid(f"{where}.operator", operator, rule)
        effect = toleration.get("effect")
        if effect != "NoExecute" and toleration.get("tolerationSeconds") is not None:
            yield invalid(f"{where}.effect", effect or "", "effect must be 'NoExecute' when `tolerationSeconds` is set")
        yield from _check_operator(operator, toleration.get("value") or "", f"{where}.operator")
        if effect and effect not in EFFECTS:
            yield not_supported(f"{where}.effect", effect, EFFECTS)


def _check_operator(operator: str, value: str, path: str) -> Errors:
    """What a toleration compares, which upstream shows at the operator."""
    if operator == "Exists":
        if value:
            yield invalid(path, value, "value must be empty when `operator` is 'Exists'")
    elif operator in ("", "Equal"):
        problems = names.label_value(value)
        if problems:
            yield invalid(path, value, ";".join(problems))
    else:
        yield not_supported(path, operator, ("Equal", "Exists"))


def check_spread(constraints: list[Json], path: str) -> Errors:
    for index, constraint in enumerate(constraints):
        where = f"{path}[{index}]"
        if (constraint.get("maxSkew") or 0) <= 0:
            yield invalid(f"{where}.maxSkew", constraint.get("maxSkew") or 0, "must be greater than zero")
        if not constraint.get("topologyKey"):
            yield required(f"{where}.topologyKey", "can not be empty")
        unsatisfiable = constraint.get("whenUnsatisfiable") or ""
        if unsatisfiable not in ("DoNotSchedule", "ScheduleAnyway"):
            yield not_supported(f"{where}.whenUnsatisfiable", unsatisfiable, ("DoNotSchedule", "ScheduleAnyway"))
        pair = _pair(constraint)
        if any(_pair(later) == pair for later in constraints[index + 1 :]):
            yield duplicate(f"{where}.{{topologyKey, whenUnsatisfiable}}", f"{{{pair[0]}, {pair[1]}}}")
        yield from _check_domains(constraint.get("minDomains"), unsatisfiable, f"{where}.minDomains")
        for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            yield from one_of(constraint, where, field, ("Honor", "Ignore"))
        yield from _check_spread_keys(constraint, f"{where}.matchLabelKeys")
        yield from label_selector(constraint.get("labelSelector"), f"{where}.labelSelector")


def _pair(constraint: Json) -> tuple[str, str]:
    """What makes two constraints the same."""
    return constraint.get("topologyKey") or "", constraint.get("whenUnsatisfiable") or ""


def _check_domains(domains: Any, unsatisfiable: str, path: str) -> Errors:
    if domains is None:
        return
    if domains <= 0:
        yield invalid(path, domains, "must be greater than zero")
    if unsatisfiable != "DoNotSchedule":
        rule = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {unsatisfiable}"
        yield invalid(path, domains, rule)


def _check_spread_keys(constraint: Json, path: str) -> Errors:
    keys, selector = constraint.get("matchLabelKeys") or [], constraint.get("labelSelector")
    if not keys:
        return
    if selector is None:
        yield forbidden(path, "must not be specified when labelSelector is not set")
    for index, key in enumerate(keys):
        yield from follows(key, f"{path}[{index}]", names.label_key)
    for position in _selected_twice(keys, selector):
        yield invalid(f"{path}[{position}]", keys[position], _TWICE)
