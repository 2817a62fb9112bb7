"""How many replicas one metric asks for: the arithmetic of the HorizontalPodAutoscaler, without time or network.

Values are whole thousandths ("milli"), as upstream counts. Pods that are about to go or have failed do not count; those
that are not ready, or whose CPU use is still that of their start, count as idle when more replicas are wanted; those
without a measurement count as idle then, and as using all of their target when fewer are wanted: what is not known
never leads to a larger change. A value that cannot be true (`Samples.fault`) never leads to fewer replicas.
Source: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tiphys.api import quantity
from tiphys.api.time import seconds
from tiphys.kinds.core.container import Container
from tiphys.kinds.core.pod import Pod

_NO_PODS = "no pods returned by selector while calculating replica count"
_NO_SAMPLES = "did not receive metrics for targeted pods (pods might be unready)"
_Ratio = Callable[[Mapping[str, int]], float]
_Full = Callable[[str], int]


class MetricError(Exception):
    """A metric from which no number of replicas can be told; the message is for a condition."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one pod uses, in thousandths: the mean of the `window` seconds before the unix time `at`."""

    value: int
    at: float = 0.0
    window: float = 0.0


@dataclass(frozen=True, slots=True)
class Samples:
    """Of each pod that told something credible, by its name; `fault` tells of one that did not, if any."""

    of: Mapping[str, Sample]
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """By how much of itself the ratio of use to target may differ from 1 before anything is done."""

    up: float = 0.1
    down: float = 0.1

    def covers(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True, slots=True)
class Knobs:
    """`initialization`: seconds for which CPU use may be that of a start; `readiness_delay`: until a pod that was never
    ready is known to be slow, not just new."""

    initialization: float = 300.0
    readiness_delay: float = 30.0


@dataclass(frozen=True, slots=True)
class Context:
    """What every calculation needs: the pods of the target, how many replicas it is to have now, and the time."""

    pods: Sequence[Pod]
    replicas: int
    now: float
    tolerance: Tolerance = Tolerance()
    knobs: Knobs = Knobs()


@dataclass(frozen=True, slots=True)
class Proposal:
    """`average` is in thousandths; `utilization` in percent of the requests where the target is one."""

    replicas: int
    average: int
    utilization: int | None = None


@dataclass(slots=True)
class _Groups:
    ready: int = 0
    unready: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)


def utilization(context: Context, samples: Samples, resource: str, target: int, container: str = "") -> Proposal:
    """For a target in percent of what the pods, or their containers of a name, request of `resource`."""
    groups = _grouped(context, samples, resource)
    asked = {pod.metadata.name: _request(pod, resource, container) for pod in context.pods}

    def ratio(values: Mapping[str, int]) -> tuple[float, int, int]:
        total = sum(asked[name] for name in values)
        if not total:
            raise MetricError("no metrics returned matched known pods")
        used = sum(values.values())
        percent = used * 100 // total
        return percent / target, percent, used // len(values)

    def full(name: str) -> int:
        return asked[name] * max(100, target) // 100

    first, percent, average = ratio(groups.known)
    wanted = _replicas(context, groups, first, lambda values: ratio(values)[0], full, guarded=True)
    return _trusted(context, samples, Proposal(wanted, average, percent))


def average(context: Context, samples: Samples, target: int, resource: str = "") -> Proposal:
    """For a target in thousandths of whatever is measured for each pod."""
    groups = _grouped(context, samples, resource)

    def ratio(values: Mapping[str, int]) -> float:
        return sum(values.values()) // len(values) / target

    mean = sum(groups.known.values()) // len(groups.known)
    wanted = _replicas(context, groups, ratio(groups.known), ratio, lambda name: target, guarded=False)
    return _trusted(context, samples, Proposal(wanted, mean))


def value(context: Context, used: int, target: int) -> Proposal:
    """For one value that the whole target brings about: an Object's or an External metric's `value`."""
    ratio = used / target
    if not context.replicas:
        return Proposal(math.ceil(ratio), used)
    if context.tolerance.covers(ratio):
        return Proposal(context.replicas, used)
    if not context.pods:
        raise MetricError(f"unable to calculate ready pods: {_NO_PODS}")
    ready = sum(pod.status.phase == "Running" and pod.ready for pod in context.pods)
    return Proposal(math.ceil(ratio * ready), used)


def share(context: Context, used: int, target: int, running: int) -> Proposal:
    """For one value of which each replica may bear `target`: `averageValue` of an Object or External metric.

    `running` is how many replicas there are.
    """
    wanted = running
    if not running or not context.tolerance.covers(used / (target * running)):
        wanted = math.ceil(used / target)
    return Proposal(wanted, math.ceil(used / running) if running else used)


def _grouped(context: Context, samples: Samples, resource: str) -> _Groups:
    if not context.pods:
        raise MetricError(_NO_PODS)
    groups = _Groups()
    for pod in context.pods:
        name, sample = pod.metadata.name, samples.of.get(pod.metadata.name)
        if pod.deleted or pod.status.phase == "Failed":
            continue
        if pod.status.phase == "Pending":
            groups.unready.append(name)
        elif sample is None:
            groups.missing.append(name)
        elif resource == "cpu" and _starting(pod, sample, context):
            groups.unready.append(name)
        else:
            groups.ready += 1
            groups.known[name] = sample.value
    if not groups.known:
        raise MetricError(samples.fault or _NO_SAMPLES)
    return groups


def _starting(pod: Pod, sample: Sample, context: Context) -> bool:
    """Whether the pod's CPU use says nothing of its load yet."""
    ready = pod.status.condition("Ready")
    if ready is None or pod.status.start_time is None:
        return True
    started, false = seconds(pod.status.start_time), ready.status == "False"
    changed = seconds(ready.last_transition_time) if ready.last_transition_time else 0.0
    if started + context.knobs.initialization > context.now:
        return false or sample.at < changed + sample.window
    return false and started + context.knobs.readiness_delay > changed


def _replicas(
    context: Context, groups: _Groups, ratio: float, again: _Ratio, full: _Full, *, guarded: bool
) -> int:  # fmt: skip
    """`again` is the ratio of other values; `full` what a pod that is not measured may be using at most.

    `guarded`: the number of pods counted may not turn the direction round either.
    """
    now, idle = context.replicas, bool(groups.unready) and ratio > 1.0
    if not idle and not groups.missing:
        return now if context.tolerance.covers(ratio) else math.ceil(ratio * groups.ready)
    values = dict(groups.known)
    if ratio < 1.0:
        values |= {name: full(name) for name in groups.missing}
    elif ratio > 1.0 or not guarded:
        values |= dict.fromkeys(groups.missing, 0)
    if idle:
        values |= dict.fromkeys(groups.unready, 0)
    new = again(values)
    if context.tolerance.covers(new) or (ratio < 1.0 < new) or (new < 1.0 < ratio):
        return now
    wanted = math.ceil(new * len(values))
    turned = (new < 1.0 and wanted > now) or (new > 1.0 and wanted < now)
    return now if guarded and turned else wanted


def _trusted(context: Context, samples: Samples, proposal: Proposal) -> Proposal:
    if samples.fault and proposal.replicas < context.replicas:
        raise MetricError(samples.fault)
    return proposal


def _request(pod: Pod, resource: str, container: str) -> int:
    """Thousandths that the pod, or its container of a name, requests. Raises MetricError where there is none."""
    whole = pod.spec.resources.requests.get(resource) if not container else None
    if whole is not None:
        return quantity.parse(whole).milli()
    counted = [each for each in _containers(pod) if container in ("", each.name)]
    if not counted:
        raise MetricError(f"container {container} not found in Pod {pod.metadata.name}")
    for each in counted:
        if resource not in each.resources.requests:
            where = f"container {each.name} of Pod {pod.metadata.name}"
            raise MetricError(f"missing request for {resource} in {where}")
    return sum(quantity.parse(each.resources.requests[resource]).milli() for each in counted)


def _containers(pod: Pod) -> list[Container]:
    """Those that run as long as the pod does."""
    sidecars = [each for each in pod.spec.init_containers if each.restart_policy == "Always"]
    return [*pod.spec.containers, *sidecars]
