"""Validation of a HorizontalPodAutoscaler's spec. Source: upstream's `pkg/apis/autoscaling/validation`."""

from __future__ import annotations

from tiphys.api import names, quantity
from tiphys.api.errors import forbidden, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows
from tiphys.kinds.core.resource_validation import check_container_name

SOURCES = {
    "Object": "object", "External": "external", "Pods": "pods", "Resource": "resource",
    "ContainerResource": "containerResource",
}  # fmt: skip
_TYPES = tuple(sorted(SOURCES))
_MAX_WINDOW, _MAX_PERIOD = 3600, 1800
_SELECTS = ("Disabled", "Max", "Min")


def check_autoscaler(spec: Json, before: Json | None) -> Errors:
    """`before`: the spec that stands; one that scales to 0 already may go on."""
    lowest, highest = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    floor = 0 if before is not None and before.get("minReplicas") == 0 else 1
    if lowest is not None and lowest < floor:
        yield invalid("spec.minReplicas", lowest, f"must be greater than or equal to {floor}")
    if highest < 1:
        yield invalid("spec.maxReplicas", highest, "must be greater than 0")
    if lowest is not None and highest < lowest:
        yield invalid("spec.maxReplicas", highest, "must be greater than or equal to `minReplicas`")
    yield from _check_reference(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef")
    metrics = spec.get("metrics") or ()
    for index, metric in enumerate(metrics):
        yield from _check_metric(metric, f"spec.metrics[{index}]")
    if lowest == 0 and not any(metric.get("type") in ("Object", "External") for metric in metrics):
        rule = "must specify at least one Object or External metric to support scaling to zero replicas"
        yield forbidden("spec.metrics", rule)
    for name in ("scaleUp", "scaleDown"):
        rules = (spec.get("behavior") or {}).get(name)
        if rules is not None:
            yield from _check_rules(rules, f"spec.behavior.{name}")


def _check_reference(reference: Json, path: str) -> Errors:
    for field in ("kind", "name"):
        if not reference.get(field):
            yield required(f"{path}.{field}")
        else:
            yield from follows(reference[field], f"{path}.{field}", names.path_segment)


def _check_metric(metric: Json, path: str) -> Errors:
    kind = metric.get("type") or ""
    if not kind:
        yield required(f"{path}.type", "must specify a metric source type")
    if kind not in SOURCES:
        yield not_supported(f"{path}.type", kind, _TYPES)
    present = [name for name in SOURCES.values() if metric.get(name) is not None]
    for name in present[:1]:
        yield from _check_source(name, metric[name], f"{path}.{name}")
    expected = SOURCES.get(kind)
    if expected is None:
        yield not_supported(f"{path}.type", kind, _TYPES)
    elif metric.get(expected) is None:
        yield required(f"{path}.{expected}", "must populate information for the given metric source")
    if len(present) != 1:
        for name in present:
            if name != expected:
                yield forbidden(f"{path}.{name}", "must populate the given metric source only")


def _check_source(name: str, source: Json, path: str) -> Errors:
    target = source.get("target") or {}
    if name == "object":
        yield from _check_reference(source.get("describedObject") or {}, f"{path}.describedObject")
    if name in ("resource", "containerResource"):
        if not source.get("name"):
            yield required(f"{path}.name", "must specify a resource name")
        elif name == "containerResource":
            yield from check_container_name(source["name"], f"{path}.name")
        if name == "containerResource":
            yield from _check_container(source.get("container") or "", f"{path}.container")
    else:
        yield from _check_name((source.get("metric") or {}).get("name") or "", f"{path}.metric.name")
    yield from _check_target(target, f"{path}.target")
    yield from _check_choice(name, target, f"{path}.target")


def _check_container(name: str, path: str) -> Errors:
    if not name:
        yield required(path, "must specify a container")
    else:
        yield from follows(name, path, names.dns1123_label)


def _check_name(name: str, path: str) -> Errors:
    if not name:
        yield required(path, "must specify a metric name")
    else:
        yield from follows(name, path, names.path_segment)


def _check_choice(name: str, target: Json, path: str) -> Errors:
    """Which of its values a target of a source must have, and may have."""
    value, average, share = (target.get(field) for field in ("value", "averageValue", "averageUtilization"))
    if name in ("resource", "containerResource"):
        if share is None and average is None:
            rule = "must set either a target raw value or a target utilization"
            yield required(f"{path}.averageUtilization", rule)
        if share is not None and average is not None:
            rule = "may not set both a target raw value and a target utilization"
            yield forbidden(f"{path}.averageValue", rule)
    elif name == "pods":
        if average is None:
            yield required(f"{path}.averageValue", "must specify a positive target averageValue")
    elif value is None and average is None:
        either = "or averageValue" if name == "object" else "for metric or a per-pod target"
        yield required(f"{path}.averageValue", f"must set either a target value {either}")
    elif name == "external" and value is not None and average is not None:
        rule = "may not set both a target value for metric and a per-pod target"
        yield forbidden(f"{path}.value", rule)


def _check_target(target: Json, path: str) -> Errors:
    kind = target.get("type") or ""
    if not kind:
        yield required(f"{path}.type", "must specify a metric target type")
    if kind not in ("Utilization", "Value", "AverageValue"):
        yield invalid(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue")
    for field in ("value", "averageValue"):
        if target.get(field) is not None and quantity.parse(target[field]) <= quantity.ZERO:
            yield invalid(f"{path}.{field}", target[field], "must be positive")
    share = target.get("averageUtilization")
    if share is not None and share < 1:
        yield invalid(f"{path}.averageUtilization", share, "must be greater than 0")


def _check_rules(rules: Json, path: str) -> Errors:
    window, where = rules.get("stabilizationWindowSeconds"), f"{path}.stabilizationWindowSeconds"
    if window is not None and window < 0:
        yield invalid(where, window, "must be greater than or equal to zero")
    if window is not None and window > _MAX_WINDOW:
        yield invalid(where, window, f"must be less than or equal to {_MAX_WINDOW}")
    if rules.get("selectPolicy") is not None and rules["selectPolicy"] not in _SELECTS:
        yield not_supported(f"{path}.selectPolicy", rules["selectPolicy"], _SELECTS)
    if not rules.get("policies"):
        yield required(f"{path}.policies", "must specify at least one Policy")
    for index, policy in enumerate(rules.get("policies") or ()):
        yield from _check_policy(policy, f"{path}.policies[{index}]")
    tolerance = rules.get("tolerance")
    if tolerance is not None and quantity.parse(tolerance).nanos < 0:
        yield invalid(f"{path}.tolerance", tolerance, "must be greater than or equal to zero")


def _check_policy(policy: Json, path: str) -> Errors:
    if policy.get("type") not in ("Pods", "Percent"):
        yield not_supported(f"{path}.type", policy.get("type") or "", ("Percent", "Pods"))
    for field in ("value", "periodSeconds"):
        if (policy.get(field) or 0) <= 0:
            yield invalid(f"{path}.{field}", policy.get(field) or 0, "must be greater than zero")
    if (policy.get("periodSeconds") or 0) > _MAX_PERIOD:
        yield invalid(f"{path}.periodSeconds", policy["periodSeconds"], f"must be less than or equal to {_MAX_PERIOD}")
