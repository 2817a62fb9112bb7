"""The HorizontalPodAutoscaler controller: as many replicas as their load needs.

Every autoscaler is looked at once in `period` seconds, those of one namespace at the same moments, so that they share
what is read; one that has just grown is looked at again after half of it. What it takes to decide is in
`horizontalpodautoscaler_plan`. A status in which nothing but measurements changed is written once in `_QUIET` seconds.
Source: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/
"""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from tiphys.api.errors import ApiError, Conflict, NotFound
from tiphys.api.meta import Key
from tiphys.api.resource import Json
from tiphys.api.selectors import DOUBLE_EQUALS, EQUALS, IN, LabelSelector, Requirement
from tiphys.api.time import rfc3339
from tiphys.client.events import reference
from tiphys.client.transport import Unreachable
from tiphys.controllers.base import After, Context
from tiphys.controllers.conditions import with_condition
from tiphys.controllers.horizontalpodautoscaler_behavior import History
from tiphys.controllers.horizontalpodautoscaler_cron import raised
from tiphys.controllers.horizontalpodautoscaler_metrics import MetricsReader
from tiphys.controllers.horizontalpodautoscaler_plan import ABLE, Plan, measures, plan, scaled
from tiphys.controllers.horizontalpodautoscaler_proposals import Measured
from tiphys.controllers.horizontalpodautoscaler_replicas import Knobs, MetricError
from tiphys.controllers.ownership import NAMESPACE, by_namespace
from tiphys.controllers.scales import Scale, Scales, Target
from tiphys.kinds.autoscaling.horizontalpodautoscaler import (
    HORIZONTAL_POD_AUTOSCALERS,
    HorizontalPodAutoscaler,
    MetricSpec,
)
from tiphys.kinds.core.pod import PODS, Pod

PERIOD = 5.0
# How often measurements alone are written, and an event that was told before is told again. Seconds.
_QUIET, _REPEAT = 15.0, 60.0
_FRESH = 1.0
_KNOBS = Knobs()


@dataclass(slots=True)
class _State:
    """What is remembered of one autoscaler."""

    history: History = field(default_factory=History)
    written: Json = field(default_factory=dict)
    at: float = -math.inf
    told: dict[tuple[str, str], float] = field(default_factory=dict)
    pods: frozenset[str] = frozenset()


class HorizontalPodAutoscalerController:
    name = "horizontal-pod-autoscaler"
    # Some may wait for an adapter that does not answer; the others are not to.
    workers = 16

    def __init__(self, context: Context, period: float = PERIOD, knobs: Knobs = _KNOBS) -> None:
        self._context, self._period, self._knobs = context, period, knobs
        self._autoscalers = context.informers.of(HORIZONTAL_POD_AUTOSCALERS)
        self._autoscalers.add_handler(self._changed)
        self._client = context.client.of(HORIZONTAL_POD_AUTOSCALERS)
        self._pods = _Pods(context)
        self._scales = Scales(context)
        self._metrics = MetricsReader(context.client.transport, context.clock)
        self._states: dict[Key, _State] = {}
        # Whose pods they are: by uid, the autoscalers that follow each.
        self._followers: dict[str, set[Key]] = {}

    async def reconcile(self, key: Key) -> After | None:
        hpa = self._autoscalers.get(key)
        if hpa is None or hpa.metadata.deletion_timestamp is not None:
            self._forget(key)
            return None
        # One autoscaler of a thousand does not hold up the loop for the others.
        await asyncio.sleep(0)
        state = self._states.setdefault(key, _State())
        try:
            target = await self._scales.get(hpa.spec.scale_target_ref, hpa.metadata.namespace)
        except (ApiError, Unreachable, ValueError) as error:
            await self._write(hpa, state, None, _no_scale(error))
        else:
            wrong = ""
            try:
                hpa = raised(hpa, self._context.clock.time())
            except ValueError as error:
                wrong = str(error)
            planned = await self._decide(hpa, key, state, target)
            if wrong:
                planned.events.append(("InvalidCronScaling", wrong))
            if await self._carry_out(hpa, state, target, planned):
                # There may not have been enough in one go.
                return After(self._period / 2)
        return After(self._until_next(hpa.metadata.namespace))

    async def _decide(self, hpa: HorizontalPodAutoscaler, key: Key, state: _State, target: Target) -> Plan:
        pods: Sequence[Pod] = ()
        measured: list[Measured] = []
        conflict = ""
        if measures(hpa.spec, target.scale) and target.scale.selector:
            pods = self._pods.of(hpa.metadata.namespace, target.selector)
            conflict = self._conflict(key, state, target, pods)
            if not conflict:
                measured = [await self._measure(hpa, each, target, pods) for each in hpa.spec.metrics]
        now = self._context.clock.time()
        return plan(hpa, target.scale, pods, measured, state.history, now, knobs=self._knobs, conflict=conflict)

    async def _measure(
        self, hpa: HorizontalPodAutoscaler, metric: MetricSpec, target: Target, pods: Sequence[Pod]
    ) -> Measured:
        namespace, names = hpa.metadata.namespace, [pod.metadata.name for pod in pods]
        resource = metric.resource or metric.container_resource
        try:
            if resource is not None:
                return await self._metrics.resource(namespace, resource, names)
            if metric.pods is not None:
                return await self._metrics.pods(namespace, metric.pods.metric, target.scale.selector, names)
            if metric.external is not None:
                return await self._metrics.external(namespace, metric.external.metric)
            assert metric.object is not None, "validation lets no metric pass without its source"
            about = metric.object.described_object
            group = about.api_version.rpartition("/")[0]
            kind = await self._scales.resource(group, about.kind)
            plural = f"{kind.plural}.{group}" if group else kind.plural
            path = f"{plural}/{about.name}"
            if (group, about.kind) == ("", "Namespace"):
                path = f"namespaces/{about.name}/metrics"
            elif kind.namespaced:
                path = f"namespaces/{namespace}/{path}"
            return await self._metrics.object(path, metric.object.metric)
        except MetricError as error:
            return error
        except (ApiError, Unreachable) as error:
            return MetricError(str(error))

    async def _carry_out(self, hpa: HorizontalPodAutoscaler, state: _State, target: Target, planned: Plan) -> bool:
        """Whether it has grown."""
        wanted, rescaled = target.scale.wanted, False
        if planned.replicas is not None:
            try:
                await self._scales.put(target, planned.replicas)
            except Conflict:
                # It is not what it was when this was decided.
                raise
            except (ApiError, Unreachable) as error:
                scaled(hpa, planned, str(error))
            else:
                rescaled = True
                now = self._context.clock.time()
                state.history.scaled(wanted, planned.replicas, hpa.spec, now)
                scaled(hpa, planned, "")
        await self._write(hpa, state, target.scale, planned, rescaled=rescaled)
        return rescaled and (planned.replicas or 0) > wanted

    async def _write(
        self, hpa: HorizontalPodAutoscaler, state: _State, scale: Scale | None, planned: Plan, *, rescaled: bool = False
    ) -> None:
        """Tell of it: in events, and in the status if that says something new."""
        now = self._context.clock.time()
        self._tell(hpa, state, planned, now)
        status = _status(hpa, scale, planned, now, rescaled=rescaled)
        old = dict(state.written)
        if not rescaled and now - state.at < _QUIET:
            for each in (old, quiet := dict(status)):
                each.pop("currentMetrics", None)
            if quiet == old:
                return
        elif status == old:
            return
        try:
            await self._client.patch(
                hpa.metadata, {"metadata": {"uid": hpa.metadata.uid}, "status": status}, subresource="status"
            )
        except NotFound:
            return
        state.written, state.at = status, now

    def _tell(self, hpa: HorizontalPodAutoscaler, state: _State, planned: Plan, now: float) -> None:
        about = reference(HORIZONTAL_POD_AUTOSCALERS.api_version, HORIZONTAL_POD_AUTOSCALERS.kind, hpa.metadata)
        told = {event: at for event, at in state.told.items() if now - at < _REPEAT}
        for event in planned.events:
            fine = event[0] == "SuccessfulRescale"
            if fine or event not in told:
                self._context.recorder.record(about, *event, warning=not fine)
                told[event] = now
        state.told = told

    def _conflict(self, key: Key, state: _State, target: Target, pods: Sequence[Pod]) -> str:
        """Whether other autoscalers follow some of these pods too, and which."""
        self._follow(key, state, frozenset(pod.metadata.uid for pod in pods))
        others = {each for uid in state.pods for each in self._followers[uid]}
        if len(others) < 2:
            return ""
        names = " ".join(sorted(others))
        return f"pods by selector {target.scale.selector} are controlled by multiple HPAs: [{names}]"

    def _follow(self, key: Key, state: _State, pods: frozenset[str]) -> None:
        for uid in state.pods - pods:
            followers = self._followers[uid]
            followers.discard(key)
            if not followers:
                del self._followers[uid]
        for uid in pods - state.pods:
            self._followers.setdefault(uid, set()).add(key)
        state.pods = pods

    def _forget(self, key: Key) -> None:
        state = self._states.pop(key, None)
        if state is not None:
            self._follow(key, state, frozenset())

    def _until_next(self, namespace: str) -> float:
        """Seconds until the namespace's next turn; different ones have theirs at different moments."""
        phase = zlib.crc32(namespace.encode()) % 1000 / 1000 * self._period
        left = self._period - (self._context.clock.time() - phase) % self._period
        return left if left > self._period / 10 else left + self._period

    def _changed(self, old: HorizontalPodAutoscaler | None, new: HorizontalPodAutoscaler | None) -> None:
        """What the controller itself wrote is no reason to look again."""
        for each in (old, new):
            if each is not None and (old is None or new is None or _asks(old) != _asks(new)):
                self._context.queue.add(each.metadata.key)


class _Pods:
    """The pods that selectors select, by way of a label that each of them needs; good for a moment."""

    def __init__(self, context: Context) -> None:
        self._informer, self._clock = context.informers.of(PODS), context.clock
        self._informer.add_index(NAMESPACE, by_namespace)
        self._tables: dict[str, tuple[float, dict[tuple[str, str], list[Pod]]]] = {}

    def of(self, namespace: str, selector: LabelSelector) -> list[Pod]:
        needed = next(filter(None, map(_pair, selector.requirements)), None)
        if needed is None:
            return [each for each in self._informer.by(NAMESPACE, namespace) if selector.matches(each.metadata.labels)]
        return [pod for pod in self._table(namespace).get(needed, ()) if selector.matches(pod.metadata.labels)]

    def _table(self, namespace: str) -> dict[tuple[str, str], list[Pod]]:
        now = self._clock.monotonic()
        for name in [name for name, (at, _) in self._tables.items() if now - at >= _FRESH]:
            del self._tables[name]
        known = self._tables.get(namespace)
        if known is None:
            table: dict[tuple[str, str], list[Pod]] = {}
            for pod in self._informer.by(NAMESPACE, namespace):
                for label in pod.metadata.labels.items():
                    table.setdefault(label, []).append(pod)
            known = self._tables[namespace] = (now, table)
        return known[1]


def _pair(requirement: Requirement) -> tuple[str, str] | None:
    if requirement.operator in (EQUALS, DOUBLE_EQUALS, IN) and len(requirement.values) == 1:
        return requirement.key, next(iter(requirement.values))
    return None


def _asks(hpa: HorizontalPodAutoscaler) -> tuple[object, ...]:
    return hpa.spec, hpa.metadata.annotations, hpa.metadata.uid, hpa.metadata.deletion_timestamp


def _no_scale(error: Exception) -> Plan:
    planned = Plan(metrics=None, failure=str(error))
    planned.events.append(("FailedGetScale", str(error)))
    text = f"the HPA controller was unable to get the target's current scale: {error}"
    planned.say(ABLE, False, "FailedGetScale", text)
    return planned


def _status(
    hpa: HorizontalPodAutoscaler, scale: Scale | None, planned: Plan, now: float, *, rescaled: bool
) -> Json:
    """The status to write, as a merge patch."""
    last = {condition[0]: condition for condition in planned.conditions}
    conditions: Sequence[Json] = msgspec.to_builtins(hpa.status.conditions)
    for kind, status, reason, message in last.values():
        made = {
            "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": rfc3339(now),
        }  # fmt: skip
        conditions = with_condition(conditions, made)
    found: Json = {"observedGeneration": hpa.metadata.generation, "conditions": conditions}
    if scale is not None:
        found["currentReplicas"] = scale.wanted
        found["desiredReplicas"] = scale.wanted
        if rescaled:
            found["desiredReplicas"] = planned.replicas
        elif planned.failure and planned.metrics is None:
            found["desiredReplicas"] = hpa.status.desired_replicas
    if planned.metrics is not None:
        found["currentMetrics"] = planned.metrics or None
    if rescaled:
        found["lastScaleTime"] = rfc3339(now)
    return found
