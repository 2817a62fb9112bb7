"""Why no node takes a pod: the reasons over all nodes, the node that misses by least, and what would make it do.

Every change that is named was tried out on the model of the cluster: with it, the plugins let the node pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from tiphys.scheduler.cluster import Cluster, Scores
from tiphys.scheduler.gang import Gang
from tiphys.scheduler.gang_attempt import Refused, Room, attempt, make_room
from tiphys.scheduler.pipeline import Unschedulable, choose
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.preemption import Candidate, Preemption
from tiphys.scheduler.profile import Profile
from tiphys.scheduler.remedies import ADVISERS, FINDERS, Remedy

_LOOKED_AT, _STEPS = 30, 5
Gone = list[tuple[PodInfo, str]]


@dataclass(frozen=True, slots=True)
class Miss:
    """What keeps one node from taking the pod and, all together, would let it."""

    node: str
    remedies: tuple[Remedy, ...]

    @property
    def cost(self) -> float:
        return sum(remedy.cost for remedy in self.remedies)


@dataclass(frozen=True, slots=True)
class Explanation:
    """`verdict` is upstream's sentence; `node` is the one that takes the pod if one does, `room` says where preemption
    would make some, `advice` what is missing where no node was looked at."""

    verdict: str
    node: str = ""
    reasons: dict[str, int] = field(default_factory=dict)
    nearest: Miss | None = None
    room: str = ""
    advice: str = ""


def explain(info: PodInfo, cluster: Cluster, profile: Profile, preemption: Preemption) -> Explanation:
    found = choose(info, cluster, profile.plugins)
    if not isinstance(found, Unschedulable):
        return Explanation("", node=cluster.name(found))
    if found.refusal:
        advisers = (ADVISERS[name] for name in found.plugins if name in ADVISERS)
        return Explanation(str(found), advice=", ".join(adviser(info, cluster) for adviser in advisers))
    verdict, room = str(found), ""
    if found.nodes and profile.preempts:
        made = preemption.find(info, cluster, profile.plugins)
        if isinstance(made, Candidate):
            names = ", ".join(victim.key for victim in made.victims)
            room = f"preemption makes room on {cluster.name(made.row)} by evicting {names}"
        else:
            verdict = f"{found} preemption: {made}"
    return Explanation(verdict, "", dict(found.reasons), _nearest(info, cluster, profile.plugins), room)


@dataclass(frozen=True, slots=True)
class GangExplanation:
    """`member` is the one that finds no place once those before it have theirs, `of_member` why."""

    verdict: str
    member: PodInfo | None = None
    of_member: Explanation | None = None


def explain_gang(
    gang: Gang, cluster: Cluster, profiles: Mapping[str, Profile], preemption: Preemption
) -> GangExplanation:  # fmt: skip
    """Leaves those that find a place counted on the model."""
    for info in gang.pending.values():
        cluster.withdraw(info.key)
    if not gang.complete:
        return GangExplanation(f"it is {gang.waits_for}")
    found = attempt(gang, cluster, profiles, {})
    if not isinstance(found, Refused):
        return GangExplanation("all fit: the next attempt places them, which a back-off may delay by ten seconds")
    room = make_room(gang, cluster, profiles, preemption)
    if isinstance(room, Room):
        names = ", ".join(victim.info.key for victim in room.victims)
        return GangExplanation(f"preemption makes room for all by evicting {names}")
    for info in gang.members():
        profile = profiles[info.pod.spec.scheduler_name]
        row = choose(info, cluster, profile.plugins)
        if isinstance(row, Unschedulable):
            return GangExplanation(str(found), info, explain(info, cluster, profile, preemption))
        cluster.place(info, cluster.name(row))
    return GangExplanation(str(found))


def _nearest(info: PodInfo, cluster: Cluster, plugins: Sequence[Plugin]) -> Miss | None:
    filters = [plugin for plugin in plugins if plugin.filters]
    refusals = np.zeros(len(cluster.rows), np.int64)
    for plugin in filters:
        mask = plugin.filter(info, cluster)
        if mask is not None:
            refusals += ~mask
    rows = np.flatnonzero(cluster.live)
    rows = rows[np.lexsort((_shortage(info, cluster)[rows], refusals[rows]))][:_LOOKED_AT]
    misses = [miss for row in rows if (miss := _mended(info, cluster, int(row), filters)) is not None]
    return min(misses, key=lambda miss: (miss.cost, miss.node), default=None)


def _shortage(info: PodInfo, cluster: Cluster) -> Scores:
    """Row by row, how much of what the pod requests is not there, as parts of the request."""
    total: Scores = np.zeros(len(cluster.rows))
    for name, value in info.requests.items():
        left = cluster.available(name, info.pod.spec.priority)
        if value:
            total += np.clip(1.0 - left / value, 0.0, None) if left is not None else 1.0
    return total


def _mended(info: PodInfo, cluster: Cluster, row: int, filters: Sequence[Plugin]) -> Miss | None:
    """Mend one refusal after the other; None if nothing that we know would."""
    made: list[Remedy] = []
    with _as_it_was(cluster, row) as gone:
        for _ in range(_STEPS):
            refusing = _refusing(info, cluster, row, filters)
            if refusing is None:
                return Miss(cluster.name(row), tuple(made))
            remedy = _smallest(info, cluster, row, refusing)
            if remedy is None:
                return None
            made.append(remedy)
            if remedy.evict or remedy.node or remedy.pod:
                info = _apply(remedy, info, cluster, gone)
            else:
                # Nothing that could be tried out: a larger node, for one.
                return Miss(cluster.name(row), tuple(made))
    return None


def _refusing(info: PodInfo, cluster: Cluster, row: int, filters: Sequence[Plugin]) -> Plugin | None:
    for plugin in filters:
        mask = plugin.filter(info, cluster)
        if mask is not None and not mask[row]:
            return plugin
    return None


def _smallest(info: PodInfo, cluster: Cluster, row: int, plugin: Plugin) -> Remedy | None:
    finder = FINDERS.get(plugin.name)
    return min(finder(info, cluster, row), key=lambda each: each.cost, default=None) if finder is not None else None


def _apply(remedy: Remedy, info: PodInfo, cluster: Cluster, gone: Gone) -> PodInfo:
    for pod in remedy.evict:
        where = cluster.placed_row(pod.key)
        if where is not None:
            gone.append((pod, cluster.name(where)))
            cluster.remove_pod(pod.key)
    if remedy.node is not None:
        cluster.set_node(remedy.node)
    return PodInfo(remedy.pod) if remedy.pod is not None else info


@contextmanager
def _as_it_was(cluster: Cluster, row: int) -> Iterator[Gone]:
    """A list for what is evicted meanwhile; afterwards all that and the node are back."""
    entry = cluster.rows[row]
    assert entry is not None, "only rows with nodes are looked at"
    node, gone = entry.node, Gone()
    try:
        yield gone
    finally:
        cluster.set_node(node)
        for pod, where in gone:
            cluster.place(pod, where)
