"""Defaults, validation and columns of the HorizontalPodAutoscaler.

Columns read the hub's form: the server shows every version from it. Source: upstream's
`pkg/apis/autoscaling/v2/defaults.go`, `pkg/apis/autoscaling/validation` and `printHorizontalPodAutoscaler`.
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, has
from tiphys.kinds.columns import AGE, NAME, NONE, UNKNOWN, at, column, number
from tiphys.kinds.fields import dig, put_default
from tiphys.kinds.strategy import StatusStrategy

_SOURCES = {
    "Resource": "resource", "ContainerResource": "containerResource", "Pods": "pods", "Object": "object",
    "External": "external",
}  # fmt: skip
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
        spec = new.get("spec") or {}
        lowest, highest = spec.get("minReplicas"), spec.get("maxReplicas") or 0
        if lowest is not None and lowest < 1:
            yield invalid("spec.minReplicas", lowest, "must be greater than or equal to 1")
        if highest < 1:
            yield invalid("spec.maxReplicas", highest, "must be greater than 0")
        if lowest is not None and highest < lowest:
            yield invalid("spec.maxReplicas", highest, "must be greater than or equal to `minReplicas`")
        yield from has(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef", "kind", "name")
        for index, metric in enumerate(spec.get("metrics") or ()):
            yield from _check_metric(metric, f"spec.metrics[{index}]")
        for name in ("scaleUp", "scaleDown"):
            yield from _check_rules(dig(spec, "behavior", name) or {}, f"spec.behavior.{name}")


def _check_metric(metric: Json, path: str) -> Errors:
    kind = metric.get("type") or ""
    if not kind:
        yield required(f"{path}.type", "must specify a metric source type")
        return
    if kind not in _SOURCES:
        yield not_supported(f"{path}.type", kind, sorted(_SOURCES))
        return
    where, source = f"{path}.{_SOURCES[kind]}", metric.get(_SOURCES[kind])
    if source is None:
        yield required(where, "must populate information for the given metric source")
        return
    if kind in ("Resource", "ContainerResource"):
        yield from has(source, where, "name")
    else:
        yield from has(source.get("metric") or {}, f"{where}.metric", "name")
    target = source.get("target") or {}
    if target.get("type") not in ("Utilization", "Value", "AverageValue"):
        rule = "must be either Utilization, Value, or AverageValue"
        yield invalid(f"{where}.target.type", target.get("type") or "", rule)
    if not any(target.get(name) for name in ("value", "averageValue", "averageUtilization")):
        rule = "must set either a target raw value or a target utilization"
        yield required(f"{where}.target.averageUtilization", rule)


def _check_rules(rules: Json, path: str) -> Errors:
    window = rules.get("stabilizationWindowSeconds")
    if window is not None and not 0 <= window <= 3600:
        yield invalid(f"{path}.stabilizationWindowSeconds", window, "must be less than or equal to 3600")
    for index, policy in enumerate(rules.get("policies") or ()):
        where = f"{path}.policies[{index}]"
        if policy.get("type") not in ("Pods", "Percent"):
            yield not_supported(f"{where}.type", policy.get("type") or "", ("Percent", "Pods"))
        for field, most in (("value", None), ("periodSeconds", 1800)):
            value = policy.get(field) or 0
            if value <= 0:
                yield invalid(f"{where}.{field}", value, "must be greater than zero")
            elif most is not None and value > most:
                yield invalid(f"{where}.{field}", value, f"must be less than or equal to {most}")


def _targets(obj: Json) -> str:
    wanted, found = dig(obj, "spec", "metrics") or [], dig(obj, "status", "currentMetrics") or []
    if not wanted:
        return NONE
    shown = [_target(metric, found[index] if index < len(found) else {}) for index, metric in enumerate(wanted[:2])]
    more = f" + {len(wanted) - 2} more..." if len(wanted) > 2 else ""
    return ", ".join(shown) + more


def _target(metric: Json, current: Json) -> str:
    """`cpu: 12%/80%` of one metric."""
    name = _SOURCES.get(metric.get("type", ""), "")
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
