"""DefaultPreemption: whom to evict, and where, so that a pod of higher priority can run.

Over all nodes at once it is known where the pod would fit without the pods below its priority, and which is the least
priority that would have to go. The most promising nodes are then looked at exactly: all lower pods are thought away and
put back, those under a budget first, then by importance, as long as the pod still fits. Upstream's order decides:
fewest budgets broken, least important victims, fewest of them, youngest.
Source: https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt

from tiphys.api.meta import ObjectMeta
from tiphys.kinds.policy.poddisruptionbudget import PodDisruptionBudget
from tiphys.scheduler.cluster import Cluster, Mask
from tiphys.scheduler.matching import Who, compiled
from tiphys.scheduler.pipeline import Unschedulable
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.plugins.node_resources_fit import NodeResourcesFit
from tiphys.scheduler.pod import PODS, PodInfo
from tiphys.scheduler.tiers import Amounts

_EXAMINED, _REHEARSED = 200, 10
_SHAPES = 16
# More budgets than these that allow nothing are not worth counting all their pods to find nodes without any.
_BUDGETS = 200
_BASE = 1 << 31
NEVER = "not eligible due to preemptionPolicy=Never."
UNDER_WAY = "not eligible due to a terminating pod on the nominated node."
_NO_HELP, _NO_VICTIMS = "Preemption is not helpful for scheduling", "No preemption victims found for incoming pod"
# What pods' going can change, besides the room they take.
_TOUCHY = frozenset({"NodePorts", "PodTopologySpread", "InterPodAffinity"})
_FIT = NodeResourcesFit()
Rank = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Budget:
    """A PodDisruptionBudget: whom it protects, how many may go, and who is going already."""

    name: str
    who: Who
    allowed: int
    going: frozenset[str]


def budget_of(pdb: PodDisruptionBudget) -> Budget:
    who = Who(compiled(pdb.spec.selector), frozenset((pdb.metadata.namespace,)))
    return Budget(pdb.metadata.name, who, pdb.status.disruptions_allowed, frozenset(pdb.status.disrupted_pods))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node and who has to go from it, most important first; `violations` counts those that a budget protects."""

    row: int
    victims: tuple[PodInfo, ...]
    violations: int
    # Less is better; and when the most important victims started, of which the later is better.
    rank: Rank = field(init=False)
    started: str = field(init=False)

    def __post_init__(self) -> None:
        priorities = [victim.pod.spec.priority for victim in self.victims]
        top = max(priorities)
        rank = self.violations, top, sum(priorities) + _BASE * len(priorities), len(priorities)
        object.__setattr__(self, "rank", rank)
        first = min(_started(victim) for victim in self.victims if victim.pod.spec.priority == top)
        object.__setattr__(self, "started", first)


def helpless(nodes: int) -> str:
    """Upstream's words for a pod that no eviction helps, wherever it might go."""
    return str(Unschedulable(nodes, {_NO_HELP: nodes}))


def victimless(nodes: int) -> str:
    """Upstream's words where nobody is less important."""
    return str(Unschedulable(nodes, {_NO_VICTIMS: nodes}))


@dataclass(slots=True)
class _Known:
    """What was found for the rows, and which versions of them that was."""

    versions: npt.NDArray[np.int64]
    candidates: dict[int, Candidate | None] = field(default_factory=dict)


class Preemption:
    """What was found for a node is kept, by what the preempting pod asks for, until the node changes."""

    def __init__(self) -> None:
        # By namespace, then by name.
        self._budgets: dict[str, dict[str, Budget]] = {}
        self._known: OrderedDict[object, _Known] = OrderedDict()

    def set_budget(self, meta: ObjectMeta, budget: Budget | None) -> None:
        """Take over a budget, None if it is gone."""
        here = self._budgets.setdefault(meta.namespace, {})
        if here.get(meta.name) == budget:
            return
        if budget is None:
            del here[meta.name]
        else:
            here[meta.name] = budget
        self._known.clear()

    def protecting(self, info: PodInfo, cluster: Cluster) -> list[Budget]:
        """The budgets that mean a pod."""
        here = self._budgets.get(info.pod.metadata.namespace, {}).values()
        return [budget for budget in here if cluster.population.means(budget.who, info)]

    def find(self, info: PodInfo, cluster: Cluster, plugins: Sequence[Plugin]) -> Candidate | str:
        """The best candidate, or upstream's words why there is none. The pod's own promise must not be counted."""
        if info.pod.spec.preemption_policy == "Never":
            return NEVER
        hopeful = cluster.live.copy()
        for plugin in plugins:
            mask = plugin.lasting(info, cluster) if plugin.filters else None
            if mask is not None:
                hopeful &= mask
        order = self._promising(info, cluster, hopeful)
        # Masks of these depend on which pods there are, beyond what they take.
        touchy = [p for p in plugins if p.filters and p.name in _TOUCHY and p.filter(info, cluster) is not None]
        if touchy:
            # A rehearsal takes long; the most promising nodes come first.
            rehearsed = (self._rehearse(info, cluster, row, touchy) for row in order)
            found = list(islice((each for each in rehearsed if each is not None), _REHEARSED))
        else:
            found = self._examined(info, cluster, order)
        if found:
            return _best(found)
        helpless = len(cluster) - int(hopeful.sum())
        reasons = Counter({_NO_HELP: helpless, _NO_VICTIMS: int(hopeful.sum())})
        return str(Unschedulable(len(cluster), +reasons))

    def _promising(self, info: PodInfo, cluster: Cluster, hopeful: Mask) -> Sequence[int]:
        """The rows to look at, those first where the least priorities would have to go and no budget is in the way."""
        rows = np.flatnonzero(hopeful)
        levels = cluster.tiers.below(info.pod.spec.priority)
        if not len(rows) or not levels:
            return []
        needed = np.full(len(cluster.rows), len(levels))
        free = {cluster.columns[name]: value for name, value in info.requests.items() if value}
        left: dict[int, Amounts] = {}
        for name in info.requests:
            available = cluster.available(name, info.pod.spec.priority)
            if cluster.columns[name] in free and available is not None:
                left[cluster.columns[name]] = available
        victims = np.zeros(len(cluster.rows), np.bool_)
        for level, (_, taken) in enumerate(levels):
            victims |= taken[:, cluster.columns[PODS]] > 0
            fits = victims.copy()
            for column, value in free.items():
                left[column] = left[column] + taken[:, column]
                fits &= left[column] >= value
            needed[fits & (needed == len(levels))] = level
        rows = rows[needed[rows] < len(levels)]
        by_level: list[int] = rows[np.argsort(needed[rows], kind="stable")][: _EXAMINED // 2].tolist()
        spent = [each for here in self._budgets.values() for each in here.values() if each.allowed <= 0]
        if not 0 < len(spent) <= _BUDGETS:
            return by_level
        guarded = [cluster.population.census((each.who,)) > 0 for each in spent]
        protected = np.any(guarded, axis=0)
        by_budget = rows[np.lexsort((needed[rows], protected[rows]))][: _EXAMINED // 2]
        return list(dict.fromkeys([*by_level, *by_budget.tolist()]))

    def _examined(self, info: PodInfo, cluster: Cluster, order: Sequence[int]) -> list[Candidate]:
        """The candidates among the rows, of which most are known from the last pod that asked for the same."""
        shape = info.pod.spec.priority, info.shape
        known = self._known.get(shape)
        if known is None or len(known.versions) != len(cluster.rows):
            known = self._known[shape] = _Known(np.full(len(cluster.rows), -1, np.int64))
            if len(self._known) > _SHAPES:
                self._known.popitem(last=False)
        rows = np.asarray(order, np.intp)
        for row in rows[known.versions[rows] != cluster.versions[rows]].tolist():
            known.candidates[row] = self._reckon(info, cluster, row)
            known.versions[row] = cluster.versions[row]
        return [found for row in order if (found := known.candidates[row]) is not None]

    def _reckon(self, info: PodInfo, cluster: Cluster, row: int) -> Candidate | None:
        """By numbers alone."""
        lower = _lower(info, cluster, row)
        spare = {name: -value for name, value in info.requests.items() if value}
        for name in spare:
            left = cluster.available(name, info.pod.spec.priority, slice(row, row + 1))
            spare[name] += int(left[0]) if left is not None else 0
            spare[name] += sum(each.requests.get(name, 0) for each in lower)
        if not lower or min(spare.values(), default=0) < 0:
            return None

        def returns(pod: PodInfo) -> bool:
            taken = [(name, pod.requests[name]) for name in spare if name in pod.requests]
            if any(spare[name] < value for name, value in taken):
                return False
            for name, value in taken:
                spare[name] -= value
            return True

        gone = [(pod, violates) for pod, violates in self._in_order(lower, cluster) if not returns(pod)]
        return _candidate(row, gone)

    def _rehearse(self, info: PodInfo, cluster: Cluster, row: int, touchy: Sequence[Plugin]) -> Candidate | None:
        """By taking the pods out of the cluster and putting them back."""
        lower = _lower(info, cluster, row)
        ordered = list(self._in_order(lower, cluster))
        node = cluster.name(row)
        fit = [*touchy, _FIT]
        away = {pod.key for pod in lower}
        try:
            for pod in lower:
                cluster.remove_pod(pod.key)
            if not lower or not _passes(info, cluster, row, fit):
                return None
            gone: list[tuple[PodInfo, bool]] = []
            for pod, violates in ordered:
                cluster.place(pod, node)
                if _passes(info, cluster, row, fit):
                    away.discard(pod.key)
                else:
                    cluster.remove_pod(pod.key)
                    gone.append((pod, violates))
        finally:
            for pod in lower:
                if pod.key in away:
                    cluster.place(pod, node)
        return _candidate(row, gone)

    def _in_order(self, lower: Sequence[PodInfo], cluster: Cluster) -> Iterator[tuple[PodInfo, bool]]:
        """The order in which pods may come back, and whether the going of each breaks a budget."""
        allowed: dict[Budget, int] = {}
        marked: list[tuple[PodInfo, bool]] = []
        for pod in lower:
            violates = False
            meta = pod.pod.metadata
            for budget in self._budgets.get(meta.namespace, {}).values() if meta.labels else ():
                if meta.name not in budget.going and cluster.population.means(budget.who, pod):
                    left = allowed[budget] = allowed.get(budget, budget.allowed) - 1
                    violates = violates or left < 0
            marked.append((pod, violates))
        yield from (each for each in marked if each[1])
        yield from (each for each in marked if not each[1])


def _candidate(row: int, gone: Sequence[tuple[PodInfo, bool]]) -> Candidate | None:
    if not gone:
        return None
    victims = sorted((pod for pod, _ in gone), key=_importance)
    return Candidate(row, tuple(victims), sum(violates for _, violates in gone))


def _best(found: Sequence[Candidate]) -> Candidate:
    least = min(each.rank for each in found)
    return max((each for each in found if each.rank == least), key=lambda each: each.started)


def _lower(info: PodInfo, cluster: Cluster, row: int) -> list[PodInfo]:
    """Most important first."""
    mine = info.pod.spec.priority
    return sorted((pod for pod in cluster.pods(row) if pod.pod.spec.priority < mine), key=_importance)


def _importance(pod: PodInfo) -> tuple[int, str]:
    return -pod.pod.spec.priority, _started(pod)


def _started(pod: PodInfo) -> str:
    """RFC 3339 in UTC orders as text; what has not started is younger than all that has."""
    return pod.pod.status.start_time or "~"


def _passes(info: PodInfo, cluster: Cluster, row: int, plugins: Sequence[Plugin]) -> bool:
    masks = (plugin.filter(info, cluster) for plugin in plugins)
    return all(mask is None or bool(mask[row]) for mask in masks)
