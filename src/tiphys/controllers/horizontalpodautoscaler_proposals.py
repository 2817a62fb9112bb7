"""What one metric of a HorizontalPodAutoscaler proposes, what its status shows, and the words for its failure.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/horizontal-pod-autoscaler-v2/
"""

from __future__ import annotations

import msgspec

from tiphys.api import quantity
from tiphys.api.resource import Json
from tiphys.controllers import horizontalpodautoscaler_replicas as replicas
from tiphys.controllers.horizontalpodautoscaler_replicas import Context, MetricError, Proposal, Samples
from tiphys.controllers.scales import Scale
from tiphys.kinds.autoscaling.horizontalpodautoscaler import MetricSpec, MetricTarget

# For each metric of a spec: of its pods, or one value in thousandths, or why there is none.
Measured = Samples | int | MetricError
_UNSOURCED = "validation lets no metric pass without its source"


def propose(metric: MetricSpec, found: Measured, scale: Scale, context: Context) -> tuple[Proposal, str, Json]:
    """A proposal, the metric's name in words, and its status. Raises MetricError."""
    if isinstance(found, MetricError):
        raise found
    if isinstance(found, Samples):
        return _of_pods(metric, found, context)
    return _of_value(metric, found, scale, context)


def _of_pods(metric: MetricSpec, samples: Samples, context: Context) -> tuple[Proposal, str, Json]:
    if metric.pods is not None:
        pods = metric.pods
        proposal = replicas.average(context, samples, _milli(pods.target.average_value))
        current: Json = {"averageValue": _shown(proposal.average)}
        status: Json = {"metric": msgspec.to_builtins(pods.metric), "current": current}
        return proposal, f"pods metric {pods.metric.name}", {"type": "Pods", "pods": status}
    field = "resource" if metric.resource is not None else "containerResource"
    source = metric.resource or metric.container_resource
    assert source is not None, _UNSOURCED
    target, name = source.target, f"{source.name} {'container ' if source.container else ''}resource"
    current = {}
    if target.average_value is not None:
        proposal = replicas.average(context, samples, _milli(target.average_value), source.name)
    else:
        share = target.average_utilization or 0
        proposal = replicas.utilization(context, samples, source.name, share, source.container)
        current["averageUtilization"] = proposal.utilization
        name += " utilization (percentage of request)"
    current["averageValue"] = _shown(proposal.average)
    told = {"name": source.name, "current": current} | ({"container": source.container} if source.container else {})
    return proposal, name, {"type": metric.type, field: told}


def _of_value(metric: MetricSpec, used: int, scale: Scale, context: Context) -> tuple[Proposal, str, Json]:
    source = metric.object or metric.external
    assert source is not None, _UNSOURCED
    target, name = source.target, source.metric.name
    if _per_pod(target):
        proposal = replicas.share(context, used, _milli(target.average_value), scale.running)
        current = {"averageValue": _shown(proposal.average)}
    else:
        proposal, current = replicas.value(context, used, _milli(target.value)), {"value": _shown(used)}
    status: Json = {"metric": msgspec.to_builtins(source.metric), "current": current}
    if metric.object is None:
        return proposal, f"external metric {name}", {"type": "External", "external": status}
    about = metric.object.described_object
    status["describedObject"] = msgspec.to_builtins(about)
    return proposal, f"{about.kind} metric {name}", {"type": "Object", "object": status}


def _per_pod(target: MetricTarget) -> bool:
    return target.average_value is not None and (target.value is None or target.type != "Value")


def _milli(text: str | None) -> int:
    """The target's thousandths, which validation keeps above zero; less than one of them is one."""
    return max(quantity.parse(text or "0").milli(), 1)


def _shown(milli: int) -> str:
    return str(quantity.of_milli(milli))


def failing(metric: MetricSpec, why: str) -> tuple[str, str]:
    """Of a metric that `why` cannot be used: what could not be got, and the whole of it."""
    resource = metric.resource or metric.container_resource
    if resource is not None:
        use = "usage" if resource.target.average_value else "utilization"
        part = "container" if metric.resource is None else "resource"
        return f"{resource.name} {part} metric", f"failed to get {resource.name} {use}: {why}"
    if metric.pods is not None:
        return "pods metric", f"unable to get metric {metric.pods.metric.name}: {why}"
    source = metric.object or metric.external
    assert source is not None, _UNSOURCED
    name = source.metric.name
    if metric.object is None:
        which = f"{name} external metric" if source.target.average_value else f"external metric {name}"
        return f"{name} external metric", f"failed to get {which}: {why}"
    about = metric.object.described_object
    text = f"unable to get metric {name}: {about.kind} {about.name}: {why}"
    return "object metric", f"failed to get {name} object metric: {text}" if _per_pod(source.target) else text
