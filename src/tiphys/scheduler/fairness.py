"""DominantResourceFairness: of the pods of one priority, those come first whose queue has least of the cluster.

What a queue has is its dominant share: of all resources, the largest part of the cluster's total that its placed pods
request, divided by the queue's weight. A namespace is a queue. A pod labelled `tiphys.dev/queue` is of that queue if
the configuration gives it a weight, so that nobody gets ahead by inventing queues.
Source: Ghodsi et al., Dominant Resource Fairness, NSDI 2011.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.gang import Entry, Gang
from tiphys.scheduler.pod import PODS, PodInfo
from tiphys.scheduler.view import View

NAME, LABEL = "DominantResourceFairness", "tiphys.dev/queue"


@dataclass(frozen=True, slots=True)
class Fairness:
    """`weights` of queues by name; those that are not named have 1."""

    weights: Mapping[str, float] = field(default_factory=dict)


class Shares(View):
    """What the placed pods of each queue request."""

    def __init__(self) -> None:
        self.weights: Mapping[str, float] = {}
        # Queues that have less than they had when this was last emptied.
        self.fallen: set[str] = set()
        self._used: dict[str, dict[str, int]] = {}
        self._totals: dict[str, int] = {}
        self._capacity = -1

    def queue_of(self, entry: Entry) -> str:
        """A gang is of the queue of its first pod."""
        info = next(iter(entry.pending.values())) if isinstance(entry, Gang) else entry
        labelled = info.pod.metadata.labels.get(LABEL, "")
        return labelled if labelled in self.weights else info.pod.metadata.namespace

    def count(self, info: PodInfo, row: int, sign: int) -> None:
        queue = self.queue_of(info)
        used = self._used.setdefault(queue, {})
        for name, value in info.requests.items():
            used[name] = used.get(name, 0) + sign * value
        if sign < 0:
            self.fallen.add(queue)
            if not used[PODS]:
                del self._used[queue]

    def dominant(self, queue: str, cluster: Cluster) -> tuple[float, str]:
        """The dominant share of a queue, 1 is all of the cluster, and of which resource; not weighted."""
        totals = self._of(cluster)
        parts = [(value / totals[name], name) for name, value in self._used.get(queue, {}).items() if totals.get(name)]
        return max(parts, default=(0.0, ""))

    def weighted(self, queue: str, cluster: Cluster) -> float:
        return self.dominant(queue, cluster)[0] / self.weights.get(queue, 1.0)

    def _of(self, cluster: Cluster) -> Mapping[str, int]:
        if self._capacity != cluster.capacity:
            sums = cluster.allocatable.sum(axis=0)
            self._totals = {name: int(sums[column]) for name, column in cluster.columns.items()}
            self._capacity = cluster.capacity
        return self._totals


@dataclass(slots=True)
class _Level:
    """The ready entries of one priority: by queue, first come first, and the queues by share.

    Only the candidate counts that `known` has of its queue; the others are left over from what it had before.
    """

    waiting: dict[str, deque[tuple[int, str]]] = field(default_factory=dict)
    candidates: list[tuple[float, int, str]] = field(default_factory=list)
    known: dict[str, tuple[float, int, str]] = field(default_factory=dict)


class FairSort:
    """Highest priority first, then the queue with the least share, then first come. A pop is O(log n) of the queues."""

    def __init__(self, fairness: Fairness, cluster: Cluster) -> None:
        self._cluster, self._shares = cluster, cluster.view(Shares)
        self._shares.weights = fairness.weights
        self._levels: dict[int, _Level] = {}
        self._priorities: list[int] = []
        self._capacity = cluster.capacity

    def push(self, place: int, entry: Entry) -> None:
        priority, queue = entry.priority, self._shares.queue_of(entry)
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = _Level()
            heapq.heappush(self._priorities, -priority)
        level.waiting.setdefault(queue, deque()).append((place, entry.key))
        if queue not in level.known:
            self._offer(level, queue)

    def pop(self) -> tuple[int, str] | None:
        self._catch_up()
        while self._priorities:
            level = self._levels[-self._priorities[0]]
            while level.candidates:
                candidate = level.candidates[0]
                queue = candidate[2]
                if level.known.get(queue) != candidate:
                    heapq.heappop(level.candidates)
                elif candidate[0] != self._shares.weighted(queue, self._cluster):
                    # It has got more since.
                    self._offer(level, queue)
                else:
                    return self._take(level, queue)
            del self._levels[-heapq.heappop(self._priorities)]
        return None

    def _take(self, level: _Level, queue: str) -> tuple[int, str]:
        heapq.heappop(level.candidates)
        del level.known[queue]
        waiting = level.waiting[queue]
        first = waiting.popleft()
        if waiting:
            self._offer(level, queue)
        else:
            del level.waiting[queue]
        return first

    def _offer(self, level: _Level, queue: str) -> None:
        made = self._shares.weighted(queue, self._cluster), level.waiting[queue][0][0], queue
        if level.known.get(queue) != made:
            level.known[queue] = made
            heapq.heappush(level.candidates, made)

    def _catch_up(self) -> None:
        """Put those forward that have less than when they were put into their order."""
        resized = self._capacity != self._cluster.capacity
        self._capacity = self._cluster.capacity
        for level in self._levels.values():
            for queue in level.waiting if resized else self._shares.fallen & level.waiting.keys():
                self._offer(level, queue)
        self._shares.fallen.clear()


def turn(info: PodInfo, waiting: Iterable[PodInfo], cluster: Cluster) -> str:
    """Who comes before a pod that would fit, of those `waiting`; empty if nobody of another queue does."""
    shares = cluster.view(Shares)
    queue = shares.queue_of(info)
    mine = shares.weighted(queue, cluster)
    rivals = Counter(shares.queue_of(other) for other in waiting if other.priority >= info.priority)
    ahead = {other: count for other, count in sorted(rivals.items()) if shares.weighted(other, cluster) < mine}
    if not ahead:
        return ""
    words = ", ".join(f"{count} of queue {other} ({_said(shares, other, cluster)})" for other, count in ahead.items())
    return f"its queue {queue} has {_said(shares, queue, cluster)}; before it come {words}"


def _said(shares: Shares, queue: str, cluster: Cluster) -> str:
    share, name = shares.dominant(queue, cluster)
    weight = shares.weights.get(queue, 1.0)
    held = f"{share:.0%} of {name}" if name else "nothing"
    return held + (f" with weight {weight:g}" if weight != 1 else "")
