"""Defaults, validation and columns of the HorizontalPodAutoscaler.

Columns read the hub's form: the server shows every version from it. Source: upstream's
`pkg/apis/autoscaling/v2/defaults.go`, `pkg/apis/autoscaling/validation` and `printHorizontalPodAutoscaler`.
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError
from tiphys.api.resource import Json
from tiphys.kinds.autoscaling.validation import SOURCES, check_autoscaler
from tiphys.kinds.checks import non_negative
from tiphys.kinds.columns import AGE, NAME, NONE, UNKNOWN, at, column, number
from tiphys.kinds.fields import dig, put_default
from tiphys.kinds.strategy import StatusStrategy

_UP = {"selectPolicy": "Max", "stabilizationWindowSeconds": 0, "policies": [
    {"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15},
]}  # fmt: skip
_DOWN = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}


class HorizontalPodAutoscalerStrategy(StatusStrategy):
    def default(self, new: Json) -> None:
        spec = new.setdefault("spec", {})
        put_default(spec, "minReplicas", 1)
        if not spec.get("metrics"):
            target = {"type": "Utilization", "averageUtilization": 80}
            spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
        behavior = spec.get("behavior")
        if behavior:
            for name, defaults in (("scaleUp", _UP), ("scaleDown", _DOWN)):
                rules = behavior.setdefault(name, {})
                for field, value in defaults.items():
                    if rules.get(field) is None:
                        rules[field] = [dict(item) for item in value] if isinstance(value, list) else value

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec, before = new.get("spec") or {}, (old or {}).get("spec")
        if spec != before:
            yield from check_autoscaler(spec, before)
        if old is not None and new.get("status") != old.get("status"):
            yield from non_negative(new.get("status") or {}, "status", "currentReplicas", "desiredReplicas")


def _targets(obj: Json) -> str:
    wanted, found = dig(obj, "spec", "metrics") or [], dig(obj, "status", "currentMetrics") or []
    if not wanted:
        return NONE
    shown = [_target(metric, found[index] if index < len(found) else {}) for index, metric in enumerate(wanted[:2])]
    more = f" + {len(wanted) - 2} more..." if len(wanted) > 2 else ""
    return ", ".join(shown) + more


def _target(metric: Json, current: Json) -> str:
    """`cpu: 12%/80%` of one metric."""
    name = SOURCES.get(metric.get("type", ""), "")
    target, now = dig(metric, name, "target") or {}, dig(current, name, "current") or {}
    label = dig(metric, name, "name")
    prefix = f"{label}: " if label else ""
    if "averageUtilization" in target:
        seen = now.get("averageUtilization")
        return f"{prefix}{UNKNOWN if seen is None else f'{seen}%'}/{target['averageUtilization']}%"
    field = "averageValue" if target.get("averageValue") else "value"
    suffix = " (avg)" if field == "averageValue" and name in ("object", "external") else ""
    return f"{prefix}{now.get(field) or UNKNOWN}/{target.get(field) or UNKNOWN}{suffix}"


def _reference(obj: Json) -> str:
    target = dig(obj, "spec", "scaleTargetRef") or {}
    return f"{target.get('kind', '')}/{target.get('name', '')}"


COLUMNS = (
    NAME,
    column("Reference", _reference),
    column("Targets", _targets),
    at("MinPods", "spec", "minReplicas", empty="<unset>"),
    number("MaxPods", "spec", "maxReplicas"),
    number("Replicas", "status", "currentReplicas"),
    AGE,
)
