"""What controllers of pods share: pods from templates, counts, the order of deletion, creation in growing batches."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from tiphys.api.errors import ApiError
from tiphys.api.meta import ObjectMeta
from tiphys.api.resource import Json
from tiphys.api.time import seconds
from tiphys.kinds.core.pod import Pod

# Name of the index of pods by their node.
NODE = "node"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "": 1, "Unknown": 1, "Running": 2}


def pod_from(template: Json, owner: ObjectMeta, reference: Json) -> Json:
    """The pod that `template` (as JSON) describes, to be created for `owner`."""
    given = template.get("metadata") or {}
    meta: Json = {
        "generateName": f"{owner.name}-", "namespace": owner.namespace, "ownerReferences": [reference],
    }  # fmt: skip
    for name in ("labels", "annotations", "finalizers"):
        if given.get(name):
            meta[name] = given[name]
    return {"metadata": meta, "spec": template.get("spec") or {}}


def by_node(pod: Pod) -> Iterable[str]:
    return (pod.spec.node_name,) if pod.spec.node_name else ()


def active(pod: Pod) -> bool:
    return not pod.finished and not pod.deleted


def ready_since(pod: Pod) -> float | None:
    """When the pod became ready (unix seconds), or None while it is not."""
    for condition in pod.status.conditions:
        if condition.type == "Ready":
            if condition.status != "True":
                return None
            return seconds(condition.last_transition_time) if condition.last_transition_time else 0.0
    return None


def available_at(pod: Pod, min_ready: int) -> float | None:
    """When the pod is or will be available, if it stays ready; None while it is not ready."""
    since = ready_since(pod)
    return None if since is None else since + min_ready


def deletion_cost(pod: Pod) -> int:
    try:
        return int(pod.metadata.annotations.get(DELETION_COST, "0"))
    except ValueError:
        return 0


def deletion_order(pods: Sequence[Pod], related: Mapping[str, int], now: float) -> list[Pod]:
    """Upstream's ranking, those to delete first in front. `related` counts the workload's pods on each node."""

    def age(since: float | None) -> float:
        # Ages count by their order of magnitude, so that the choice among pods of like age stays fair.
        return math.floor(math.log2(max(now - since, 0.0) + 1)) if since is not None else 0.0

    def rank(pod: Pod) -> tuple[Any, ...]:
        ready = pod.ready
        restarts = max((status.restart_count for status in pod.status.container_statuses), default=0)
        created = seconds(pod.metadata.creation_timestamp) if pod.metadata.creation_timestamp else now
        return (
            bool(pod.spec.node_name), _PHASES.get(pod.status.phase, 1), ready, deletion_cost(pod),
            -related.get(pod.spec.node_name, 0) if ready else 0, age(ready_since(pod)) if ready else 0.0,
            -restarts, age(created), pod.metadata.uid,
        )  # fmt: skip

    return sorted(pods, key=rank)


async def slow_start(count: int, work: Callable[[], Awaitable[None]]) -> ApiError | None:
    """Call `work` `count` times in batches of 1, 2, 4 ...; stop after a batch with a failure and return it.

    A server that refuses everything is asked once, not `count` times.
    """
    left, size = count, 1
    while left > 0:
        batch = min(size, left)
        results = await asyncio.gather(*(work() for _ in range(batch)), return_exceptions=True)
        for result in results:
            if isinstance(result, ApiError):
                return result
            if isinstance(result, BaseException):
                raise result
        left, size = left - batch, size * 2
    return None
