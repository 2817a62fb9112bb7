"""What a HorizontalPodAutoscaler is to do now: measurements in, a size, conditions and events out.

Each metric proposes a size and the greatest counts. A metric that could not be read, or not be believed, keeps the
others from taking anything away: with one of them invalid the size may grow but not shrink, and the condition tells of
it. Reasons and texts are upstream's.
Source: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tiphys.api import quantity
from tiphys.api.resource import Json
from tiphys.controllers.horizontalpodautoscaler_behavior import History, normalize
from tiphys.controllers.horizontalpodautoscaler_proposals import Measured, failing, propose
from tiphys.controllers.horizontalpodautoscaler_replicas import Context, Knobs, MetricError, Tolerance
from tiphys.controllers.scales import Scale
from tiphys.kinds.autoscaling.horizontalpodautoscaler import (
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec,
    ScalingRules,
)
from tiphys.kinds.core.pod import Pod

ABLE, ACTIVE, LIMITED = "AbleToScale", "ScalingActive", "ScalingLimited"
TOLERANCE = 0.1
_UNABLE = "the HPA was unable to compute the replica count: "
_KNOBS = Knobs()


@dataclass(slots=True)
class Plan:
    """`replicas` if they are to be written, and why; `metrics` for the status, None to leave those that are there."""

    replicas: int | None = None
    reason: str = ""
    conditions: list[tuple[str, str, str, str]] = field(default_factory=list)
    metrics: list[Json] | None = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)
    failure: str = ""

    def say(self, condition: str, status: bool, reason: str, message: str) -> None:
        self.conditions.append((condition, "True" if status else "False", reason, message))


def measures(spec: HorizontalPodAutoscalerSpec, scale: Scale) -> bool:
    """Whether the size depends on metrics at all."""
    return spec.min_replicas <= scale.wanted <= spec.max_replicas


def plan(
    hpa: HorizontalPodAutoscaler, scale: Scale, pods: Sequence[Pod], measured: Sequence[Measured], history: History,
    now: float, *, knobs: Knobs = _KNOBS, conflict: str = "",
) -> Plan:  # fmt: skip
    """`pods` are those that the scale's selector selects; `measured` is parallel to the metrics, if they are needed.

    `conflict` says which other autoscalers these pods have.
    """
    planned, spec = Plan(), hpa.spec
    planned.say(ABLE, True, "SucceededGetScale", "the HPA controller was able to get the target's current scale")
    history.begin(scale.wanted, now)
    if not scale.wanted and spec.min_replicas:
        text = "scaling is disabled since the replica count of the target is zero"
        planned.say(ACTIVE, False, "ScalingDisabled", text)
    elif scale.wanted > spec.max_replicas:
        planned.replicas = spec.max_replicas
        planned.reason = "Current number of replicas above Spec.MaxReplicas"
    elif scale.wanted < spec.min_replicas:
        planned.replicas = spec.min_replicas
        planned.reason = "Current number of replicas below Spec.MinReplicas"
    elif _selects(planned, scale, conflict):
        context = Context(pods, scale.wanted, now, _tolerance(spec), knobs)
        _follow(planned, spec, scale, _weigh(planned, spec, scale, context, measured), history, now)
    return planned


def scaled(hpa: HorizontalPodAutoscaler, planned: Plan, error: str) -> None:
    """What is to be said after the scale was written, or could not be, because of `error`."""
    if error:
        text = f"New size: {planned.replicas}; reason: {planned.reason}; error: {error}"
        planned.events.append(("FailedRescale", text))
        text = f"the HPA controller was unable to update the target scale: {error}"
        planned.say(ABLE, False, "FailedUpdateScale", text)
        planned.metrics = None
        return
    text = f"the HPA controller was able to update the target scale to {planned.replicas}"
    planned.say(ABLE, True, "SucceededRescale", text)
    planned.events.append(("SuccessfulRescale", f"New size: {planned.replicas}; reason: {planned.reason}"))


def _tolerance(spec: HorizontalPodAutoscalerSpec) -> Tolerance:
    def of(rules: ScalingRules | None) -> float:
        given = rules.tolerance if rules is not None else None
        return quantity.parse(given).nanos / 1e9 if given is not None else TOLERANCE

    return Tolerance(of(spec.behavior.scale_up), of(spec.behavior.scale_down))


def _selects(planned: Plan, scale: Scale, conflict: str) -> bool:
    """Whether it is clear whose pods are meant."""
    if scale.selector and not conflict:
        return True
    if conflict:
        reason, text = "AmbiguousSelector", conflict
        planned.say(ACTIVE, False, reason, text)
        planned.events.append((reason, text))
    else:
        text = "selector is required"
        planned.say(ACTIVE, False, "InvalidSelector", "the HPA target's scale is missing a selector")
        planned.events.append(("SelectorRequired", text))
    _fail(planned, text)
    return False


def _fail(planned: Plan, text: str) -> None:
    planned.failure, planned.metrics = text, None
    planned.events.append(("FailedComputeMetricsReplicas", text))


@dataclass(slots=True)
class _Weighed:
    replicas: int
    name: str


def _weigh(
    planned: Plan, spec: HorizontalPodAutoscalerSpec, scale: Scale, context: Context, measured: Sequence[Measured]
) -> _Weighed | None:
    """The greatest proposal; None if it is not to be trusted."""
    best, first, invalid, shown = _Weighed(0, ""), ("", "", ""), 0, []
    for metric, found in zip(spec.metrics, measured, strict=True):
        try:
            proposal, name, status = propose(metric, found, scale, context)
        except MetricError as error:
            reason, (source, text) = f"FailedGet{metric.type}Metric", failing(metric, str(error))
            planned.events.append((reason, text))
            first = first if invalid else (reason, text, f"failed to get {source} value: {text}")
            invalid += 1
            shown.append({"type": ""})
            continue
        shown.append(status)
        if not best.name or proposal.replicas > best.replicas:
            best = _Weighed(proposal.replicas, name)
    if invalid:
        text = f"invalid metrics ({invalid} invalid out of {len(spec.metrics)}), first error is: {first[2]}"
        if not best.name or best.replicas < scale.wanted:
            planned.say(ACTIVE, False, first[0], _UNABLE + first[1])
            _fail(planned, text)
            return None
        planned.failure = text
    text = f"the HPA was able to successfully calculate a replica count from {best.name}"
    planned.say(ACTIVE, True, "ValidMetricFound", text)
    planned.metrics = shown
    return best


def _follow(
    planned: Plan, spec: HorizontalPodAutoscalerSpec, scale: Scale, best: _Weighed | None, history: History, now: float
) -> None:
    if best is None:
        return
    allowed = normalize(spec, scale.wanted, best.replicas, history, now)
    planned.say(ABLE, True, *allowed.able)
    planned.say(LIMITED, allowed.held, *allowed.limited)
    if allowed.replicas != scale.wanted:
        planned.replicas = allowed.replicas
        planned.reason = f"{best.name} above target" if best.replicas > scale.wanted else "All metrics below target"
