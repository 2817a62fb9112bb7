"""How fast a HorizontalPodAutoscaler may follow its metrics: stabilisation windows, policies, bounds.

Without a `behavior` it may double at a time, or have 4, and goes down to the highest that was recommended in the last
five minutes. `History` is what has to be remembered for that; it is of one autoscaler and changed by `normalize`.
Source: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#configurable-scaling-behavior
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from tiphys.kinds.autoscaling.horizontalpodautoscaler import HorizontalPodAutoscalerSpec, ScalingRules

DOWN_WINDOW = 300.0
_FACTOR, _AT_ONCE = 2, 4
_NO_LIMIT = 2**31 - 1
_RATE = "the desired replica count is {}creasing faster than the maximum scale rate"
_MOST = "the desired replica count is more than the maximum replica count"
_LEAST = "the desired replica count is less than the minimum replica count"
_WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")
_LOWER = "recent recommendations were lower than current one, applying the lowest recent recommendation"
_HIGHER = "recent recommendations were higher than current one, applying the highest recent recommendation"


@dataclass(slots=True)
class History:
    """What was recommended, and by how much was scaled, each with its (unix) time."""

    recommended: list[tuple[float, int]] = field(default_factory=list)
    added: list[tuple[float, int]] = field(default_factory=list)
    removed: list[tuple[float, int]] = field(default_factory=list)

    def begin(self, replicas: int, now: float) -> None:
        """Nothing is known of the time before: the size that there is stands for it."""
        if not self.recommended:
            self.recommended.append((now, replicas))

    def recommend(self, replicas: int, now: float, window: float) -> None:
        """Remember it for `window` seconds. Of the same one again and again the last is enough."""
        kept = [entry for entry in self.recommended if entry[0] >= now - window]
        if kept and kept[-1][1] == replicas:
            kept.pop()
        self.recommended = [*kept, (now, replicas)]

    def scaled(self, old: int, new: int, spec: HorizontalPodAutoscalerSpec, now: float) -> None:
        both = [rules for rules in (spec.behavior.scale_up, spec.behavior.scale_down) if rules is not None]
        longest = max((policy.period_seconds for rules in both for policy in rules.policies), default=0)
        for events in (self.added, self.removed):
            events[:] = [event for event in events if event[0] >= now - longest]
        if both:
            (self.added if new > old else self.removed).append((now, abs(new - old)))


@dataclass(frozen=True, slots=True)
class Allowed:
    """`able` and `limited` are (reason, message) of AbleToScale and ScalingLimited; `held`: the latter is True."""

    replicas: int
    able: tuple[str, str]
    limited: tuple[str, str]
    held: bool


def normalize(
    spec: HorizontalPodAutoscalerSpec, current: int, desired: int, history: History, now: float
) -> Allowed:  # fmt: skip
    """How many replicas there may be at once, where there are `current` and metrics ask for `desired`."""
    up, down = spec.behavior.scale_up, spec.behavior.scale_down
    if up is None or down is None:
        stable, why = _highest(desired, history, now)
        replicas, limited = _bounded(spec, current, stable)
    else:
        stable, why = _stable(up, down, (current, desired), history, now)
        replicas, limited = _paced(spec, current, stable, history, now)
    able = why if stable != desired else ("ReadyForNewScale", "recommended size matches current size")
    return Allowed(replicas, able, limited, replicas != stable)


def _highest(desired: int, history: History, now: float) -> tuple[int, tuple[str, str]]:
    recent = [replicas for at, replicas in history.recommended if at >= now - DOWN_WINDOW]
    history.recommend(desired, now, DOWN_WINDOW)
    return max([desired, *recent]), ("ScaleDownStabilized", _HIGHER)


def _stable(
    up: ScalingRules, down: ScalingRules, sizes: tuple[int, int], history: History, now: float
) -> tuple[int, tuple[str, str]]:
    current, desired = sizes
    above, below = float(up.stabilization_window_seconds or 0), down.stabilization_window_seconds
    back = DOWN_WINDOW if below is None else float(below)
    lowest = min([desired, *(replicas for at, replicas in history.recommended if at > now - above)])
    highest = max([desired, *(replicas for at, replicas in history.recommended if at > now - back)])
    history.recommend(desired, now, max(above, back))
    why = ("ScaleUpStabilized", _LOWER) if desired >= current else ("ScaleDownStabilized", _HIGHER)
    return min(max(current, lowest), highest), why


def _bounded(spec: HorizontalPodAutoscalerSpec, current: int, desired: int) -> tuple[int, tuple[str, str]]:
    ceiling = max(_FACTOR * current, _AT_ONCE)
    if desired < spec.min_replicas:
        return spec.min_replicas, ("TooFewReplicas", _LEAST)
    if desired > min(spec.max_replicas, ceiling):
        if spec.max_replicas > ceiling:
            return ceiling, ("ScaleUpLimit", _RATE.format("in"))
        return spec.max_replicas, ("TooManyReplicas", _MOST)
    return desired, _WITHIN


def _paced(
    spec: HorizontalPodAutoscalerSpec, current: int, desired: int, history: History, now: float
) -> tuple[int, tuple[str, str]]:
    """Within the bounds and what the policies allow."""
    up, down = spec.behavior.scale_up, spec.behavior.scale_down
    assert up is not None
    assert down is not None
    if desired > current:
        ceiling = max(_ceiling(up, current, history, now), current)
        if desired > min(spec.max_replicas, ceiling):
            limited = spec.max_replicas > ceiling
            why = ("ScaleUpLimit", _RATE.format("in")) if limited else ("TooManyReplicas", _MOST)
            return min(spec.max_replicas, ceiling), why
    elif desired < current:
        floor = min(_floor(down, current, history, now), current)
        if desired < max(spec.min_replicas, floor):
            limited = spec.min_replicas < floor
            why = ("ScaleDownLimit", _RATE.format("de")) if limited else ("TooFewReplicas", _LEAST)
            return max(spec.min_replicas, floor), why
    return desired, _WITHIN


def _ceiling(rules: ScalingRules, current: int, history: History, now: float) -> int:
    if rules.select_policy == "Disabled":
        return current
    found = []
    for policy in rules.policies:
        start = _at_start(current, policy.period_seconds, history, now)
        # Rounded up: a share of few is less than one, and would never let them grow.
        share = math.ceil(start * (1 + policy.value / 100))
        found.append(start + policy.value if policy.type == "Pods" else share)
    return min(found, default=_NO_LIMIT) if rules.select_policy == "Min" else max(found, default=0)


def _floor(rules: ScalingRules, current: int, history: History, now: float) -> int:
    if rules.select_policy == "Disabled":
        return current
    found = []
    for policy in rules.policies:
        start = _at_start(current, policy.period_seconds, history, now)
        found.append(start - policy.value if policy.type == "Pods" else int(start * (1 - policy.value / 100)))
    return max(found, default=0) if rules.select_policy == "Min" else min(found, default=_NO_LIMIT)


def _at_start(current: int, period: int, history: History, now: float) -> int:
    """How many replicas there were when the period began."""
    return current - _since(history.added, now - period) + _since(history.removed, now - period)


def _since(events: Sequence[tuple[float, int]], cutoff: float) -> int:
    return sum(change for at, change in events if at > cutoff)
