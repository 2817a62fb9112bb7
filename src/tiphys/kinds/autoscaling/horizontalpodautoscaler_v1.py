"""HorizontalPodAutoscaler as autoscaling/v1 serves it: a CPU target, and all else of v2 in annotations.

Source: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#api-object
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.api.meta import Object
from tiphys.api.resource import Json
from tiphys.kinds.autoscaling.horizontalpodautoscaler import HORIZONTAL_POD_AUTOSCALERS
from tiphys.kinds.autoscaling.strategy import COLUMNS
from tiphys.kinds.declare import declare, through_hub

_PREFIX = "autoscaling.alpha.kubernetes.io/"
# Annotation -> where its JSON belongs in v2.
_CARRIED = {
    "metrics": ("spec", "metrics"),
    "behavior": ("spec", "behavior"),
    "conditions": ("status", "conditions"),
    "current-metrics": ("status", "currentMetrics"),
}


def _is_cpu(metric: Json) -> bool:
    """Whether v1 has a field for this metric: the CPU utilization of the pods."""
    resource = metric.get("resource") or {}
    how = resource.get("target") or resource.get("current") or {}
    return metric.get("type") == "Resource" and resource.get("name") == "cpu" and "averageUtilization" in how


def _cpu_metric(field: str, percent: int) -> Json:
    how: Json = {"averageUtilization": percent}
    if field == "target":
        how["type"] = "Utilization"
    return {"type": "Resource", "resource": {"name": "cpu", field: how}}


def _copy(obj: Json, api_version: str) -> Json:
    copied = {**obj, "apiVersion": api_version, "metadata": dict(obj.get("metadata") or {})}
    for part in ("spec", "status"):
        if part in obj:
            copied[part] = dict(obj[part])
    return copied


def to_hub(obj: Json) -> Json:
    """autoscaling/v1 to autoscaling/v2."""
    new = _copy(obj, "autoscaling/v2")
    annotations = dict(new["metadata"].get("annotations") or {})
    for name, (part, field) in _CARRIED.items():
        text = annotations.pop(_PREFIX + name, None)
        value = _loads(text) if text is not None else None
        if value:
            new.setdefault(part, {})[field] = value
    _set_annotations(new, annotations)
    for part, old_name, field, how in (
        ("spec", "targetCPUUtilizationPercentage", "metrics", "target"),
        ("status", "currentCPUUtilizationPercentage", "currentMetrics", "current"),
    ):
        percent = new.get(part, {}).pop(old_name, None)
        if percent is not None:
            new[part][field] = [_cpu_metric(how, percent), *(new[part].get(field) or ())]
    return new


def from_hub(obj: Json) -> Json:
    """autoscaling/v2 to autoscaling/v1."""
    new = _copy(obj, "autoscaling/v1")
    annotations = dict(new["metadata"].get("annotations") or {})
    for part, new_name, field, how in (
        ("spec", "targetCPUUtilizationPercentage", "metrics", "target"),
        ("status", "currentCPUUtilizationPercentage", "currentMetrics", "current"),
    ):
        metrics = new.get(part, {}).get(field) or []
        cpu = next((metric for metric in metrics if _is_cpu(metric)), None)
        if cpu is not None:
            new[part][new_name] = cpu["resource"][how]["averageUtilization"]
            new[part][field] = [metric for metric in metrics if metric is not cpu]
    for name, (part, field) in _CARRIED.items():
        value = new.get(part, {}).pop(field, None)
        if value:
            annotations[_PREFIX + name] = orjson.dumps(value).decode()
    _set_annotations(new, annotations)
    return new


def _loads(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _set_annotations(obj: Json, annotations: dict[str, str]) -> None:
    if annotations:
        obj["metadata"]["annotations"] = annotations
    else:
        obj["metadata"].pop("annotations", None)


HORIZONTAL_POD_AUTOSCALERS_V1 = declare(
    Object, group="autoscaling", version="v1", kind="HorizontalPodAutoscaler", plural="horizontalpodautoscalers",
    short_names=("hpa",), categories=("all",), status=True, hub=HORIZONTAL_POD_AUTOSCALERS,
    to_hub=to_hub, from_hub=from_hub,
    columns=through_hub(COLUMNS, to_hub),
)  # fmt: skip
