"""Validation of what a Job makes of its pods' ends: podFailurePolicy and successPolicy.

Source: upstream's `validatePodFailurePolicy` and `validateSuccessPolicy`.
"""

from __future__ import annotations

from tiphys.api import names
from tiphys.api.errors import duplicate, invalid, not_supported, omitted, required, too_long, too_many
from tiphys.api.resource import Json
from tiphys.kinds.batch.indexes import count_indexes
from tiphys.kinds.checks import NON_NEGATIVE, Errors, follows

_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS = ("In", "NotIn")
_STATUSES = ("False", "True", "Unknown")
_MOST_RULES, _MOST_CODES, _MOST_PATTERNS, _LONGEST_INDEXES = 20, 255, 20, 64 * 1024


def _listed(values: tuple[str, ...]) -> str:
    """As Go prints a list of strings in quotes."""
    quoted = " ".join(f'"{value}"' for value in values)
    return f"valid values: [{quoted}]"


def _enum(value: str, path: str, allowed: tuple[str, ...]) -> Errors:
    if not value:
        yield required(path, _listed(allowed))
    elif value not in allowed:
        yield not_supported(path, value, allowed)


def check_failure_policy(spec: Json, path: str) -> Errors:
    """`spec` is the Job's."""
    rules, where = spec["podFailurePolicy"].get("rules") or (), f"{path}.rules"
    if len(rules) > _MOST_RULES:
        yield too_many(where, len(rules), _MOST_RULES)
    pod = (spec.get("template") or {}).get("spec") or {}
    known = {c.get("name") for name in ("containers", "initContainers") for c in pod.get(name) or ()}
    for index, rule in enumerate(rules):
        yield from _check_rule(rule, f"{where}[{index}]", spec, known)


def _check_rule(rule: Json, path: str, spec: Json, known: set[str | None]) -> Errors:
    action, codes, conditions = rule.get("action") or "", rule.get("onExitCodes"), rule.get("onPodConditions") or ()
    if action == "FailIndex":
        if spec.get("backoffLimitPerIndex") is None:
            yield invalid(f"{path}.action", action, "requires the backoffLimitPerIndex to be set")
    else:
        yield from _enum(action, f"{path}.action", _ACTIONS)
    if codes is not None:
        yield from _check_codes(codes, f"{path}.onExitCodes", known)
    if conditions:
        yield from _check_conditions(conditions, f"{path}.onPodConditions")
    if codes is not None and conditions:
        yield omitted(path, "specifying both OnExitCodes and OnPodConditions is not supported")
    if codes is None and not conditions:
        yield omitted(path, "specifying one of OnExitCodes and OnPodConditions is required")


def _check_conditions(patterns: list[Json], path: str) -> Errors:
    if len(patterns) > _MOST_PATTERNS:
        yield too_many(path, len(patterns), _MOST_PATTERNS)
    for index, pattern in enumerate(patterns):
        yield from follows(pattern.get("type") or "", f"{path}[{index}].type", names.qualified_name)
        yield from _enum(pattern.get("status") or "", f"{path}[{index}].status", _STATUSES)


def _check_codes(codes: Json, path: str, known: set[str | None]) -> Errors:
    operator, values = codes.get("operator") or "", codes.get("values") or []
    yield from _enum(operator, f"{path}.operator", _OPERATORS)
    name = codes.get("containerName")
    if name is not None and name not in known:
        rule = "must be one of the container or initContainer names in the pod template"
        yield invalid(f"{path}.containerName", name, rule)
    where = f"{path}.values"
    if not values:
        yield invalid(where, codes.get("values"), "at least one value is required")
    elif len(values) > _MOST_CODES:
        yield too_many(where, len(values), _MOST_CODES)
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            yield invalid(f"{where}[{index}]", value, "must not be 0 for the In operator")
        if value in values[:index]:
            yield duplicate(f"{where}[{index}]", value)
    if values != sorted(values):
        yield invalid(where, values, "must be ordered")


def check_success_policy(spec: Json, path: str) -> Errors:
    """`spec` is the Job's, which is an indexed one."""
    rules, where = spec["successPolicy"].get("rules") or (), f"{path}.rules"
    if not rules:
        yield required(where, "at least one rules must be specified when the successPolicy is specified")
    if len(rules) > _MOST_RULES:
        yield too_many(where, len(rules), _MOST_RULES)
    for index, rule in enumerate(rules):
        yield from _check_success_rule(rule, f"{where}[{index}]", spec.get("completions") or 0)


def _check_success_rule(rule: Json, path: str, completions: int) -> Errors:
    count, indexes, total = rule.get("succeededCount"), rule.get("succeededIndexes"), 0
    if count is None and indexes is None:
        yield required(path, "at least one of succeededCount or succeededIndexes must be specified")
    if indexes is not None:
        if len(indexes) > _LONGEST_INDEXES:
            yield too_long(f"{path}.succeededIndexes", _LONGEST_INDEXES)
        try:
            total = count_indexes(indexes, completions)
        except ValueError as error:
            yield invalid(f"{path}.succeededIndexes", indexes, f"error parsing succeededIndexes: {error}")
    if count is None:
        return
    where = f"{path}.succeededCount"
    if count < 0:
        yield invalid(where, count, NON_NEGATIVE)
    if count > completions:
        rule_ = f"must be less than or equal to {completions} (the number of specified completions)"
        yield invalid(where, count, rule_)
    if indexes is not None and count > total:
        what = "the number of indexes in the specified succeededIndexes field"
        yield invalid(where, count, f"must be less than or equal to {total} ({what})")
