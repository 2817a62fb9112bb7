"""Placement constraints: `[FIELD, OPERATOR, VALUE]`.

Source: https://mesosphere.github.io/marathon/docs/constraints.html
"""

from __future__ import annotations

import re
from typing import Any

from tiphys.stacks.objects import without_empty
from tiphys.stacks.problems import Problems

Json = dict[str, Any]
_FIELDS = {
    "hostname": "kubernetes.io/hostname", "@hostname": "kubernetes.io/hostname",
    "@region": "topology.kubernetes.io/region", "@zone": "topology.kubernetes.io/zone",
}  # fmt: skip
_WORDS = re.compile(r"\^?\(?[\w.-]+(?:\|[\w.-]+)*\)?\$?")


def placement(path: str, constraints: list[Any], selector: Json, problems: Problems) -> Json:
    """Fields of a pod's spec."""
    nodes: list[Json] = []
    together: list[Json] = []
    apart: list[Json] = []
    spread: list[Json] = []
    for at, one in enumerate(constraints):
        where = f"{path}constraints[{at}]"
        if isinstance(one, dict):
            one = [one.get("fieldName") or one.get("attribute"), one.get("operator"), one.get("value")]
        field, operator, value = [*one, None, None][:3]
        key = _FIELDS.get(str(field), str(field))
        term = {"labelSelector": {"matchLabels": selector}, "topologyKey": key}
        match str(operator).upper():
            case "UNIQUE":
                apart.append(term)
            case "CLUSTER" if not value:
                together.append(term)
            case "CLUSTER" | "IS":
                nodes.append({"key": key, "operator": "In", "values": [str(value)]})
            case "LIKE" | "UNLIKE":
                nodes += _like(where, key, (str(operator).upper(), str(value)), problems)
            case "GROUP_BY":
                spread.append(_spread(key, selector, int(value) if value else None))
            case "MAX_PER" if str(value) == "1":
                apart.append(term)
            case "MAX_PER":
                problems.warn(where, "held by an even spread (maxSkew 1)")
                spread.append(_spread(key, selector, None))
            case _:
                problems.refuse(
                    where, f"{operator!r} is no operator", "UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE, MAX_PER or IS"
                )
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    affinity = {
        "nodeAffinity": {required: {"nodeSelectorTerms": [{"matchExpressions": nodes}]}} if nodes else None,
        "podAffinity": {required: together} if together else None,
        "podAntiAffinity": {required: apart} if apart else None,
    }
    return without_empty({"affinity": without_empty(affinity), "topologySpreadConstraints": spread})


def _spread(key: str, selector: Json, domains: int | None) -> Json:
    return without_empty({
        "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule", "minDomains": domains,
        "labelSelector": {"matchLabels": selector},
    })  # fmt: skip


def _like(path: str, key: str, what: tuple[str, str], problems: Problems) -> list[Json]:
    """Labels have no patterns: a list of words is one of values, `.*` is any."""
    operator, pattern = what
    if pattern in (".*", ".+"):
        return [{"key": key, "operator": "Exists" if operator == "LIKE" else "DoesNotExist"}]
    if not _WORDS.fullmatch(pattern):
        problems.refuse(
            path,
            f"labels are not matched by the pattern {pattern!r}",
            "words apart by |, or a label of its own on the nodes",
        )
        return []
    values = pattern.strip("^$()").split("|")
    return [{"key": key, "operator": "In" if operator == "LIKE" else "NotIn", "values": values}]
