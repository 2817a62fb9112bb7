"""What a StatefulSet's controller does next: one pure function over what the informers show.

In order, unless the pods are managed in parallel: lower ordinals are made first and wait for those before them; higher
ones go first, and none goes while another is not well. Scaling comes before updating. Unlike upstream's, a pod of an
older revision that cannot run is not waited for: a template that was mended mends its pods.
Source: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#deployment-and-scaling-guarantees
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from tiphys.api.intstr import scaled
from tiphys.api.resource import Json
from tiphys.controllers.controller_revisions import HASH
from tiphys.controllers.pods import available_at
from tiphys.kinds.apps.statefulset import StatefulSet
from tiphys.kinds.core.pod import Pod

_ORDINAL = re.compile(r"(.+)-(0|[1-9][0-9]*)")


@dataclass(slots=True)
class Plan:
    """`create` holds ordinals with the names of their revisions; `ended` are pods to delete that finished by
    themselves; `condemned` are names of pods beyond the size. `again` is in seconds."""

    create: list[tuple[int, str]] = field(default_factory=list)
    delete: list[Pod] = field(default_factory=list)
    ended: list[Pod] = field(default_factory=list)
    condemned: frozenset[str] = frozenset()
    status: Json = field(default_factory=dict)
    again: float | None = None


def ordinal_of(owner: str, pod: str) -> int | None:
    """The ordinal in the name of a pod, None where it is not one of the StatefulSet's."""
    match = _ORDINAL.fullmatch(pod)
    return int(match[2]) if match is not None and match[1] == owner else None


@dataclass(frozen=True, slots=True)
class _View:
    owner: StatefulSet
    current: str
    update: str
    now: float

    def available(self, pod: Pod | None) -> bool:
        """Made, not going, and ready for as long as it takes."""
        if pod is None or pod.deleted or pod.status.phase != "Running":
            return False
        at = available_at(pod, self.owner.spec.min_ready_seconds)
        return at is not None and at <= self.now

    @property
    def ordered(self) -> bool:
        return self.owner.spec.pod_management_policy != "Parallel"

    @property
    def rolls(self) -> bool:
        return self.owner.spec.update_strategy.type == "RollingUpdate"

    def revision(self, ordinal: int) -> str:
        """That a pod made now gets."""
        start, partition = self.owner.spec.ordinals.start, self.owner.spec.update_strategy.rolling_update.partition
        return self.current if self.rolls and ordinal < start + partition else self.update


def plan(owner: StatefulSet, current: str, update: str, pods: Sequence[Pod], now: float) -> Plan:
    """`current` and `update` are names of revisions; `pods` are those that `owner` owns."""
    view, by_ordinal = _View(owner, current, update, now), {}
    for pod in pods:
        ordinal = ordinal_of(owner.metadata.name, pod.metadata.name)
        if ordinal is not None:
            by_ordinal[ordinal] = pod
    start, planned = owner.spec.ordinals.start, Plan()
    wanted = range(start, start + owner.spec.replicas)
    replicas = {ordinal: by_ordinal.get(ordinal) for ordinal in wanted}
    condemned = [by_ordinal[ordinal] for ordinal in sorted(by_ordinal, reverse=True) if ordinal not in replicas]
    planned.condemned = frozenset(pod.metadata.name for pod in condemned)
    if owner.metadata.deletion_timestamp is None:
        well = _fill(view, replicas, planned) and _shrink(view, condemned, planned)
        if well and view.rolls:
            _roll(view, replicas, planned)
    planned.status = _status(view, by_ordinal.values())
    waits = [at - now for pod in by_ordinal.values() for at in _waits(view, pod) if at > now]
    planned.again = min(waits) if waits else None
    return planned


def _waits(view: _View, pod: Pod) -> Iterable[float]:
    at = available_at(pod, view.owner.spec.min_ready_seconds)
    return () if at is None else (at,)


def _fill(view: _View, replicas: Mapping[int, Pod | None], planned: Plan) -> bool:
    """Make what is missing; False where something must be waited for before anything else is done."""
    for ordinal, pod in replicas.items():
        if pod is None:
            planned.create.append((ordinal, view.revision(ordinal)))
        elif pod.finished and not pod.deleted:
            planned.ended.append(pod)
        if view.ordered and not view.available(pod):
            if pod is not None and view.rolls and view.revision(ordinal) == view.update and _stuck(view, pod):
                planned.delete.append(pod)
            return False
    return True


def _stuck(view: _View, pod: Pod) -> bool:
    """Whether the pod is of an older revision and waits to run, now or after it ended again and again."""
    if pod.deleted or pod.finished or _revision(pod) == view.update:
        return False
    return pod.status.phase == "Pending" or any(s.state.waiting is not None for s in pod.status.container_statuses)


def _shrink(view: _View, condemned: Sequence[Pod], planned: Plan) -> bool:
    """`condemned` come with the highest ordinal first. All others are well by now, if there is an order."""
    if not view.ordered:
        planned.delete += [pod for pod in condemned if not pod.deleted]
        return True
    if not condemned:
        return True
    first = condemned[0]
    sick = [pod for pod in condemned if not view.available(pod)]
    if not first.deleted and (first not in sick or first is sick[-1]):
        planned.delete.append(first)
    return False


def _roll(view: _View, replicas: Mapping[int, Pod | None], planned: Plan) -> None:
    """From the highest ordinal down; pods of older revisions that are not well are not worth waiting for."""
    rolling = view.owner.spec.update_strategy.rolling_update
    first = view.owner.spec.ordinals.start + rolling.partition
    limit = max(scaled(rolling.max_unavailable, view.owner.spec.replicas, round_up=True), 1)
    targets = [pod for ordinal, pod in sorted(replicas.items(), reverse=True) if ordinal >= first]
    # With room for one, what is not well further down does not hold up its turn.
    down = sum(not view.available(pod) for pod in replicas.values()) if limit > 1 else 0
    ended = {pod.metadata.name for pod in planned.ended}
    for pod in targets:
        well = view.available(pod)
        if pod is not None and not pod.deleted and _revision(pod) != view.update and pod.metadata.name not in ended:
            if well and down >= limit:
                return
            planned.delete.append(pod)
            down += well or limit == 1
        elif not well and limit == 1:
            return
        if down >= limit == 1:
            return


def _revision(pod: Pod) -> str:
    return pod.metadata.labels.get(HASH, "")


def _status(view: _View, pods: Iterable[Pod]) -> Json:
    """What of the status changes, as a merge patch; empty if nothing does."""
    owner, held = view.owner, list(pods)
    present = [_revision(pod) for pod in held if not pod.deleted]
    counts: Json = {
        "replicas": len(held),
        "readyReplicas": sum(pod.ready and pod.status.phase == "Running" and not pod.deleted for pod in held),
        "availableReplicas": sum(map(view.available, held)),
        "currentReplicas": present.count(view.current), "updatedReplicas": present.count(view.update),
        "currentRevision": view.current, "updateRevision": view.update,
        "observedGeneration": owner.metadata.generation,
    }  # fmt: skip
    size = owner.spec.replicas
    if view.rolls and all(counts[name] == size for name in ("replicas", "readyReplicas", "updatedReplicas")):
        counts |= {"currentReplicas": counts["updatedReplicas"], "currentRevision": view.update}
    if owner.status.collision_count is None:
        counts["collisionCount"] = 0
    old = msgspec.to_builtins(owner.status)
    fresh = not owner.status.observed_generation
    return {
        name: value for name, value in counts.items()
        if old.get(name, "" if isinstance(value, str) else 0) != value
        or name == "collisionCount" or (fresh and name in ("replicas", "availableReplicas"))
    }  # fmt: skip
