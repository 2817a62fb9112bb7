"""Taints as controllers handle them: which ones a node's conditions call for, and for how long pods bear them.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tiphys.api.time import rfc3339
from tiphys.kinds.core.affinity import Toleration
from tiphys.kinds.core.node import Node, Taint
from tiphys.kinds.core.taints import tolerates

NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "NoExecute"
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
UNSCHEDULABLE, OUT_OF_SERVICE = "node.kubernetes.io/unschedulable", "node.kubernetes.io/out-of-service"
# condition -> status -> the taint it means for new pods.
_BY_CONDITION = {
    "Ready": {"False": NOT_READY, "Unknown": UNREACHABLE},
    "MemoryPressure": {"True": "node.kubernetes.io/memory-pressure"},
    "DiskPressure": {"True": "node.kubernetes.io/disk-pressure"},
    "PIDPressure": {"True": "node.kubernetes.io/pid-pressure"},
    "NetworkUnavailable": {"True": "node.kubernetes.io/network-unavailable"},
}
_OURS = {UNSCHEDULABLE, *(taint for statuses in _BY_CONDITION.values() for taint in statuses.values())}


def wanted_taints(node: Node, *, evict: bool | None, now: float) -> list[Taint]:
    """The node's taints as its conditions call for them; those that users and others set stay.

    `evict`: whether pods may be driven off a node that is not ready; None leaves that as it is.
    """
    keys = [UNSCHEDULABLE] if node.spec.unschedulable else []
    for condition in node.status.conditions:
        taint = _BY_CONDITION.get(condition.type, {}).get(condition.status)
        if taint is not None:
            keys.append(taint)
    wanted = [(key, NO_SCHEDULE) for key in keys]
    for key in keys:
        if key in (NOT_READY, UNREACHABLE) and (evict or (evict is None and _has(node, NO_EXECUTE))):
            wanted.append((key, NO_EXECUTE))
    # A node that has not reported yet keeps the taint that it registered with.
    new = node.condition("Ready") is None
    kept = [
        taint for taint in node.spec.taints
        if not _is_ours(taint) or (taint.key, taint.effect) in wanted or (new and taint.key == NOT_READY)
    ]  # fmt: skip
    held = {(taint.key, taint.effect) for taint in kept}
    return kept + [Taint(key, effect, time_added=rfc3339(now)) for key, effect in wanted if (key, effect) not in held]


def _is_ours(taint: Taint) -> bool:
    return taint.key in _OURS and (taint.effect == NO_SCHEDULE or taint.key in (NOT_READY, UNREACHABLE))


def _has(node: Node, effect: str) -> bool:
    return any(taint.effect == effect and taint.key in (NOT_READY, UNREACHABLE) for taint in node.spec.taints)


def borne_until(
    taints: Iterable[Taint], tolerations: Sequence[Toleration], since: Callable[[Taint], float]
) -> float | None:
    """When (unix seconds) a pod must go from these NoExecute taints; 0 is at once, None never.

    `since` tells when a taint began to hold for the pod. Of several tolerations of a taint the shortest counts.
    """
    ends: list[float] = []
    for taint in taints:
        matching = [toleration for toleration in tolerations if tolerates(toleration, taint)]
        if not matching:
            return 0.0
        spans = [max(t.toleration_seconds, 0) for t in matching if t.toleration_seconds is not None]
        if spans:
            ends.append(since(taint) + min(spans))
    return min(ends) if ends else None
