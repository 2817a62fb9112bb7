"""The disruption controller: how many of the pods that a PodDisruptionBudget covers may be evicted now.

Source: https://kubernetes.io/docs/tasks/run-application/configure-pdb/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tiphys.api.errors import ApiError, NotFound
from tiphys.api.intstr import scaled
from tiphys.api.meta import Key, OwnerReference
from tiphys.api.resource import Json, ResourceType
from tiphys.api.selectors import NOTHING, LabelSelector
from tiphys.api.time import rfc3339, seconds
from tiphys.client.events import reference
from tiphys.controllers.base import After, Context
from tiphys.controllers.conditions import with_condition
from tiphys.controllers.ownership import NAMESPACE, by_namespace, selector_of
from tiphys.controllers.scales import Scales
from tiphys.kinds.apps.deployment import DEPLOYMENTS
from tiphys.kinds.apps.replicaset import REPLICA_SETS
from tiphys.kinds.apps.statefulset import STATEFUL_SETS
from tiphys.kinds.autoscaling.horizontalpodautoscaler import ScaleTarget
from tiphys.kinds.core.pod import PODS, Pod
from tiphys.kinds.core.replicationcontroller import REPLICATION_CONTROLLERS
from tiphys.kinds.policy.poddisruptionbudget import POD_DISRUPTION_BUDGETS, PodDisruptionBudget

# An eviction that was let through but did not lead to a deletion is forgotten after so many seconds.
_DELETION_SECONDS = 120.0


@dataclass(slots=True)
class Plan:
    status: Json = field(default_factory=dict)
    events: list[tuple[str, str]] = field(default_factory=list)
    again: float | None = None


def plan(
    budget: PodDisruptionBudget, pods: Sequence[Pod], sizes: Mapping[str, int] | None, now: float, *, error: str = ""
) -> Plan:
    """`pods` are those that `budget` selects; `sizes` are those of their workloads, by uid.

    With an `error`, which says why the sizes are not known, nothing may be evicted.
    """
    planned = Plan()
    if error:
        text = f"Failed to calculate the number of expected pods: {error}"
        planned.events.append(("CalculateExpectedPodCountFailed", text))
        planned.status = _patch(budget, {"disruptionsAllowed": 0}, "SyncFailed", error, now)
        return planned
    if not pods:
        planned.events.append(("NoPods", "No matching pods found"))
    expected, desired = _wanted(budget, len(pods), sum((sizes or {}).values()))
    disrupted = _disrupted(budget, pods, now, planned)
    healthy = sum(pod.ready and not pod.deleted and pod.metadata.name not in disrupted for pod in pods)
    allowed = max(healthy - desired, 0) if expected > 0 else 0
    counts: Json = {
        "currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": expected, "disruptionsAllowed": allowed,
        "observedGeneration": budget.metadata.generation,
    }  # fmt: skip
    gone = {name: None for name in budget.status.disrupted_pods if name not in disrupted}
    if gone:
        counts["disruptedPods"] = gone
    planned.status = _patch(budget, counts, "SufficientPods" if allowed else "InsufficientPods", "", now)
    return planned


def _wanted(budget: PodDisruptionBudget, selected: int, size: int) -> tuple[int, int]:
    """How many pods there are to be, and how many of them healthy."""
    spec = budget.spec
    if spec.max_unavailable is not None:
        return size, max(size - scaled(spec.max_unavailable, size, round_up=True), 0)
    if spec.min_available is None:
        return selected, 0
    if isinstance(spec.min_available, int):
        return selected, spec.min_available
    return size, scaled(spec.min_available, size, round_up=True)


def needs_sizes(budget: PodDisruptionBudget) -> bool:
    return budget.spec.max_unavailable is not None or isinstance(budget.spec.min_available, str)


def _disrupted(budget: PodDisruptionBudget, pods: Sequence[Pod], now: float, planned: Plan) -> set[str]:
    """Names of the pods whose eviction was let through and which are about to go."""
    present = {pod.metadata.name for pod in pods if not pod.deleted}
    found: set[str] = set()
    for name, since in budget.status.disrupted_pods.items():
        left = seconds(since) + _DELETION_SECONDS - now
        if name not in present:
            continue
        if left <= 0:
            planned.events.append(("NotDeleted", f"Pod {name} was expected to be deleted, but it was not"))
            continue
        found.add(name)
        planned.again = min(left, planned.again if planned.again is not None else left)
    return found


def _patch(budget: PodDisruptionBudget, counts: Json, reason: str, message: str, now: float) -> Json:
    old = msgspec.to_builtins(budget.status)
    conditions = old.get("conditions") or []
    made: Json = {
        "type": "DisruptionAllowed", "status": "True" if counts["disruptionsAllowed"] else "False", "reason": reason,
        "message": message, "observedGeneration": budget.metadata.generation, "lastTransitionTime": rfc3339(now),
    }  # fmt: skip
    wanted = with_condition(conditions, made)
    fresh = not budget.status.conditions
    patch = {name: value for name, value in counts.items() if fresh or old.get(name, 0) != value}
    if [_said(each) for each in wanted] != [_said(each) for each in conditions]:
        patch["conditions"] = wanted
    return patch


def _said(condition: Json) -> tuple[Any, ...]:
    return tuple(condition.get(name) or "" for name in ("type", "status", "reason", "message", "observedGeneration"))


class DisruptionController:
    name = "disruption-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._context = context
        self._budgets = context.watch(POD_DISRUPTION_BUDGETS)
        self._budgets.add_index(NAMESPACE, by_namespace)
        self._pods = context.watch(PODS, self._keys_of)
        self._pods.add_index(NAMESPACE, by_namespace)
        scaled_kinds: tuple[ResourceType[Any], ...] = (
            REPLICATION_CONTROLLERS, REPLICA_SETS, STATEFUL_SETS, DEPLOYMENTS,
        )  # fmt: skip
        self._scaled = {(each.api_version, each.kind): context.informers.of(each) for each in scaled_kinds}
        self._scales = Scales(context)
        self._client = context.client.of(POD_DISRUPTION_BUDGETS)

    async def reconcile(self, key: Key) -> After | None:
        budget = self._budgets.get(key)
        if budget is None:
            return None
        meta, selector = budget.metadata, _selector(budget)
        pods = [pod for pod in self._pods.by(NAMESPACE, meta.namespace) if selector.matches(pod.metadata.labels)]
        sizes, error = await self._sizes(pods) if needs_sizes(budget) else ({}, "")
        planned = plan(budget, pods, sizes, self._context.clock.time(), error=error)
        about = reference(POD_DISRUPTION_BUDGETS.api_version, POD_DISRUPTION_BUDGETS.kind, meta)
        if planned.status:
            # The eviction API takes from the same status; what it took meanwhile must not come back.
            own = {"uid": meta.uid, "resourceVersion": meta.resource_version}
            try:
                await self._client.patch(meta, {"metadata": own, "status": planned.status}, subresource="status")
            except NotFound:
                return None
            for reason, text in planned.events:
                self._context.recorder.record(about, reason, text, warning=reason != "NoPods")
        return After(planned.again) if planned.again is not None else None

    async def _sizes(self, pods: Sequence[Pod]) -> tuple[dict[str, int], str]:
        """The sizes of the workloads of `pods` by uid; pods of none do not count. Second, what hinders."""
        sizes: dict[str, int] = {}
        for pod in pods:
            found: Any = pod
            owner = pod.metadata.controller
            while owner is not None:
                informer = self._scaled.get((owner.api_version, owner.kind))
                above = informer.get(f"{pod.metadata.namespace}/{owner.name}") if informer is not None else None
                if above is None or above.metadata.uid != owner.uid:
                    break
                found, owner = above, above.metadata.controller
            if found is not pod:
                sizes[found.metadata.uid] = found.spec.replicas
            elif owner is not None and owner.uid not in sizes:
                try:
                    sizes[owner.uid] = await self._scale_of(owner, pod.metadata.namespace)
                except (ApiError, ValueError) as error:
                    why = f"{error}; use minAvailable with a number"
                    return {}, f'the {owner.kind} of pod "{pod.metadata.name}" has no size: {why}'
        return sizes, ""

    async def _scale_of(self, owner: OwnerReference, namespace: str) -> int:
        """By the scale subresource of a kind of somebody's own. Raises ApiError, Unreachable, ValueError."""
        target = await self._scales.get(ScaleTarget(owner.kind, owner.name, owner.api_version), namespace)
        if target.meta.uid != owner.uid:
            raise NotFound(f"{owner.name} is another one by now")
        return target.scale.wanted

    def _keys_of(self, pod: Pod) -> Iterable[str]:
        for budget in self._budgets.by(NAMESPACE, pod.metadata.namespace):
            if _selector(budget).matches(pod.metadata.labels):
                yield budget.metadata.key


def _selector(budget: PodDisruptionBudget) -> LabelSelector:
    return selector_of(budget.spec.selector) if budget.spec.selector is not None else NOTHING
