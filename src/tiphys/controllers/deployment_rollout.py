"""How many replicas each ReplicaSet of a Deployment should have next. Pure.

A plan changes sizes by one safe step; the ReplicaSets' new status brings the next. Old and new never have more than
replicas + maxSurge pods together, and never fewer than replicas - maxUnavailable of them available.
Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tiphys.api.intstr import scaled
from tiphys.controllers.deployment_revision import DESIRED, MAX, revision_of
from tiphys.kinds.apps.deployment import Deployment
from tiphys.kinds.apps.replicaset import ReplicaSet

Sizes = dict[str, int]


def surge(deployment: Deployment) -> int:
    """maxSurge in pods, 0 unless the update rolls."""
    strategy = deployment.spec.strategy
    if strategy.type != "RollingUpdate":
        return 0
    return scaled(strategy.rolling_update.max_surge, deployment.spec.replicas, round_up=True)


def unavailable(deployment: Deployment) -> int:
    """maxUnavailable in pods, 0 unless the update rolls; 1 where it and maxSurge round to 0 both."""
    strategy, replicas = deployment.spec.strategy, deployment.spec.replicas
    if strategy.type != "RollingUpdate" or not replicas:
        return 0
    most = scaled(strategy.rolling_update.max_unavailable, replicas, round_up=False)
    return min(most or (0 if surge(deployment) else 1), replicas)


def total(sets: Iterable[ReplicaSet]) -> int:
    return sum(each.spec.replicas for each in sets)


def existing(sets: Iterable[ReplicaSet]) -> int:
    """Pods that are there or will be: who was scaled down has its pods until its status says otherwise."""
    return sum(max(each.spec.replicas, each.status.replicas) for each in sets)


def available(each: ReplicaSet) -> int:
    """Pods that stay available: the status may still count those that the last step took away."""
    return min(each.status.available_replicas, each.spec.replicas)


def active(sets: Iterable[ReplicaSet]) -> list[ReplicaSet]:
    return [each for each in sets if each.spec.replicas > 0]


def oldest_first(sets: Iterable[ReplicaSet]) -> list[ReplicaSet]:
    return sorted(sets, key=lambda each: (each.metadata.creation_timestamp, each.metadata.name))


def new_size(deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> int:
    """How far the newest ReplicaSet may be scaled up now."""
    size, wanted = new.spec.replicas if new is not None else 0, deployment.spec.replicas
    if deployment.spec.strategy.type != "RollingUpdate" or size >= wanted:
        return wanted
    room = wanted + surge(deployment) - existing(old) - size
    return size if room <= 0 else size + min(room, wanted - size)


def rolling(deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet]) -> Sizes:
    """One step of a rolling update: scale the new one up, or else old ones down."""
    size = new_size(deployment, new, old)
    if size != new.spec.replicas:
        return {new.metadata.name: size}
    return _shrink_old(deployment, new, active(old))


def _shrink_old(deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet]) -> Sizes:
    if not old:
        return {}
    least = deployment.spec.replicas - unavailable(deployment)
    waiting = new.spec.replicas - available(new)
    spare = total(old) + new.spec.replicas - least - waiting
    if spare <= 0:
        return {}
    sizes = {each.metadata.name: each.spec.replicas for each in old}
    # Pods that are not available serve nobody: they go first.
    for each in oldest_first(old):
        sick = each.spec.replicas - available(each)
        gone = min(spare, sick)
        sizes[each.metadata.name] -= gone
        spare -= gone
    surplus = sum(map(available, (new, *old))) - least
    for each in oldest_first(old):
        gone = max(min(surplus, sizes[each.metadata.name]), 0)
        sizes[each.metadata.name] -= gone
        surplus -= gone
    before = {each.metadata.name: each.spec.replicas for each in old}
    return {name: size for name, size in sizes.items() if size != before[name]}


def recreate(deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> tuple[Sizes, bool]:
    """Sizes, and whether the new ReplicaSet must wait for pods of old ones to end."""
    sizes = {each.metadata.name: 0 for each in active(old)}
    if sizes or any(map(_has_pods, old)):
        return sizes, True
    if new is not None and new.spec.replicas != deployment.spec.replicas:
        return {new.metadata.name: deployment.spec.replicas}, False
    return {}, False


def _has_pods(replica_set: ReplicaSet) -> bool:
    status = replica_set.status
    unseen = status.observed_generation < replica_set.metadata.generation
    return unseen or bool(status.replicas or status.terminating_replicas)


def is_scaling(deployment: Deployment, sets: Iterable[ReplicaSet]) -> bool:
    """Whether `spec.replicas` changed since the ReplicaSets were last sized, outside of what a step will do anyway."""
    wanted, current = str(deployment.spec.replicas), active(sets)
    if deployment.spec.strategy.type != "RollingUpdate" and len(current) > 1:
        return False
    return any(each.metadata.annotations.get(DESIRED, wanted) != wanted for each in current)


def scale(deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> Sizes:
    """Follow a change of `spec.replicas` outside of a step: proportionally where a rollout is half-way.

    A ReplicaSet with its present size in the answer gets its annotations renewed.
    """
    sets = [*old, new] if new is not None else list(old)
    current = active(sets)
    if len(current) <= 1:
        only = current[0] if current else new or (max(old, key=revision_of) if old else None)
        return {only.metadata.name: deployment.spec.replicas} if only is not None else {}
    if new is not None and _saturated(deployment, new):
        return {each.metadata.name: 0 for each in active(old)}
    if deployment.spec.strategy.type != "RollingUpdate":
        return {}
    return _proportional(deployment, current)


def _saturated(deployment: Deployment, new: ReplicaSet) -> bool:
    wanted = deployment.spec.replicas
    return (
        new.metadata.annotations.get(DESIRED) == str(wanted)
        and new.spec.replicas == wanted
        and new.status.available_replicas == wanted
    )


def _proportional(deployment: Deployment, sets: Sequence[ReplicaSet]) -> Sizes:
    wanted = deployment.spec.replicas
    allowed = wanted + surge(deployment) if wanted else 0
    add = allowed - total(sets)
    # The largest takes what rounding leaves over; of equals the newer when growing, the older when shrinking.
    ordered = oldest_first(sets)
    if add > 0:
        ordered.reverse()
    ordered.sort(key=lambda each: -each.spec.replicas)
    sizes, added = {}, 0
    for each in ordered:
        share = _share(deployment, each, add, added) if add else 0
        sizes[each.metadata.name] = each.spec.replicas + share
        added += share
    first = ordered[0].metadata.name
    sizes[first] = max(sizes[first] + add - added, 0)
    return sizes


def _share(deployment: Deployment, replica_set: ReplicaSet, add: int, added: int) -> int:
    size, wanted = replica_set.spec.replicas, deployment.spec.replicas
    if not wanted:
        fraction = -size
    else:
        text = replica_set.metadata.annotations.get(MAX, "")
        before = int(text) if text.isdecimal() else deployment.status.replicas
        # Rounded half away from zero, as Go does.
        fraction = int(size * (wanted + surge(deployment)) / before + 0.5) - size if before else 0
    left = add - added
    return min(fraction, left) if add > 0 else max(fraction, left)


def to_clean_up(deployment: Deployment, old: Sequence[ReplicaSet]) -> list[ReplicaSet]:
    """Old ReplicaSets beyond revisionHistoryLimit, the oldest revisions first, that have no pods."""
    kept = [each for each in old if each.metadata.deletion_timestamp is None]
    surplus = len(kept) - deployment.spec.revision_history_limit
    oldest = sorted(kept, key=lambda each: (revision_of(each), each.metadata.creation_timestamp))[: max(surplus, 0)]
    return [
        each for each in oldest
        if not each.spec.replicas and not each.status.replicas
        and each.status.observed_generation >= each.metadata.generation
    ]  # fmt: skip
