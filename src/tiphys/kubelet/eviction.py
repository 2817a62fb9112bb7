"""Which pod goes first when the node runs short of memory or disk. Pure.

https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tiphys.kinds.core.pod import Pod
from tiphys.kubelet.resources import requested
from tiphys.kubelet.steps import End

# Static and system pods are not evicted: the node needs them.
CRITICAL_PRIORITY = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pod with what it uses now of the resource that runs short, in bytes."""

    pod: Pod
    used: int


def choose(candidates: Iterable[Candidate], resource: str) -> Candidate | None:
    """The pod to evict: those over their request first, then the lowest priority, then the furthest over."""

    def rank(item: Candidate) -> tuple[bool, int, int]:
        over = item.used - requested(item.pod, resource).value()
        return over <= 0, item.pod.spec.priority, -over

    able: Sequence[Candidate] = [item for item in candidates if item.pod.spec.priority < CRITICAL_PRIORITY]
    return min(able, key=rank, default=None)


def evicted(candidate: Candidate, resource: str) -> End:
    """Why, in upstream's words; memory that is short leaves no time for a grace period."""
    asked = requested(candidate.pod, resource).value()
    message = f"The node was low on resource: {resource}. "
    if candidate.used > asked:
        message += f"Container usage {candidate.used >> 10}Ki, request is {asked >> 10}Ki, has larger consumption. "
    return End("Evicted", message, grace=0.0, disruption=True)
