"""`deploy.placement`: constraints, preferences and the most replicas of a node.

Source: https://docs.docker.com/reference/cli/docker/service/create/#constraint
"""

from __future__ import annotations

import re
from typing import Any

from tiphys.stacks.objects import without_empty
from tiphys.stacks.problems import Problems

Json = dict[str, Any]
_CONSTRAINT = re.compile(r"^\s*([\w./-]+)\s*(==|!=)\s*(.+?)\s*$")
_ROLE = "node-role.kubernetes.io/control-plane"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
HOST = "kubernetes.io/hostname"


def placement(path: str, service: Json, selector: Json, problems: Problems) -> Json:
    """Fields of a pod's spec."""
    given = (service.get("deploy") or {}).get("placement") or {}
    term: Json = {"matchExpressions": [], "matchFields": []}
    tolerations = []
    for at, text in enumerate(given.get("constraints") or ()):
        where = f"{path}.deploy.placement.constraints[{at}]"
        found = _requirement(where, str(text), problems)
        if found is None:
            continue
        kind, requirement = found
        term[kind].append(requirement)
        if requirement == {"key": _ROLE, "operator": "Exists"}:
            tolerations.append({"key": _ROLE, "operator": "Exists", "effect": "NoSchedule"})
    affinity: Json = {}
    if any(term.values()):
        affinity["nodeAffinity"] = {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [without_empty(term)]}
        }
    spread = _preferences(path, given, selector, problems)
    most = int(given.get("max_replicas_per_node") or 0)
    if most == 1:
        affinity["podAntiAffinity"] = {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"labelSelector": {"matchLabels": selector}, "topologyKey": HOST}
            ]
        }
    elif most:
        problems.warn(
            f"{path}.deploy.placement.max_replicas_per_node", "held by an even spread over the nodes (maxSkew 1)"
        )
        spread.append(_spread(HOST, "DoNotSchedule", selector))
    return without_empty({"affinity": affinity, "tolerations": tolerations, "topologySpreadConstraints": spread})


def _spread(key: str, otherwise: str, selector: Json) -> Json:
    return {
        "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": otherwise, "labelSelector": {"matchLabels": selector},
    }  # fmt: skip


def _preferences(path: str, given: Json, selector: Json, problems: Problems) -> list[Json]:
    found = []
    for at, one in enumerate(given.get("preferences") or ()):
        where = f"{path}.deploy.placement.preferences[{at}]"
        label = str((one or {}).get("spread") or "") if isinstance(one, dict) else ""
        key = label.removeprefix("node.labels.").removeprefix("engine.labels.")
        if label in ("node.id", "node.hostname"):
            key = HOST
        if not label or ("." in label and key == label):
            problems.refuse(where, "only spread is known", "spread: node.labels.KEY")
            continue
        found.append(_spread(key, "ScheduleAnyway", selector))
    return found


def _requirement(path: str, text: str, problems: Problems) -> tuple[str, Json] | None:
    found = _CONSTRAINT.match(text)
    if not found:
        problems.refuse(path, f"{text!r} is no constraint", "KEY==VALUE or KEY!=VALUE")
        return None
    key, operator, value = found[1], "In" if found[2] == "==" else "NotIn", found[3]
    if key == "node.role":
        if value not in ("manager", "worker"):
            problems.refuse(path, f"{value!r} is no role", "manager or worker")
        manager = (value == "manager") == (operator == "In")
        return "matchExpressions", {"key": _ROLE, "operator": "Exists" if manager else "DoesNotExist"}
    if key == "node.id":
        problems.warn(path, "the ID of a node is its name here")
        return "matchFields", {"key": "metadata.name", "operator": operator, "values": [value]}
    label = _label(path, key, problems)
    if label is None:
        return None
    if label == "kubernetes.io/arch":
        value = _ARCHITECTURES.get(value, value)
    return "matchExpressions", {"key": label, "operator": operator, "values": [value]}


def _label(path: str, key: str, problems: Problems) -> str | None:
    known = {"node.hostname": HOST, "node.platform.os": "kubernetes.io/os", "node.platform.arch": "kubernetes.io/arch"}
    if key in known:
        return known[key]
    if key.startswith("node.labels."):
        return key.removeprefix("node.labels.")
    if key.startswith("engine.labels."):
        problems.warn(path, "a label of an engine is a label of the Node here: `kubectl label node NAME KEY=VALUE`")
        return key.removeprefix("engine.labels.")
    problems.refuse(path, f"nodes have no {key}", "node.labels.KEY, and `kubectl label node NAME KEY=VALUE`")
    return None
