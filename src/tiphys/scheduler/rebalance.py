"""Which running pods to move so that the cluster is as its pods' constraints and preferences want it: a pure plan.

Every move is one that the plugins themselves would choose if the pod came anew: away from a node that they refuse for
it, or to one that they score higher by a margin. Seen from the new node the old one is worse by the same margin, so no
pod goes to and fro. A move is not made if it would violate a constraint of another pod: violations never grow.
Source for what users expect: https://github.com/kubernetes-sigs/descheduler
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace

from tiphys.scheduler.cluster import Cluster, Mask, Scores
from tiphys.scheduler.pipeline import totals
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.pod import CPU, MEMORY, PodInfo

# A tenth of what one plugin of weight 1 gives at most.
MARGIN = 10.0
# A cordoned node keeps what it has; the name of its node is the old pod's, not the new one's.
_NOT_OF_RUNNING = frozenset({"NodeUnschedulable", "NodeName"})
_SHARED = frozenset({"PodTopologySpread", "InterPodAffinity"})
_BETTER = {
    "NodeResourcesBalancedAllocation": "uses CPU and memory more evenly",
    "PodTopologySpread": "spreads its kind better",
    "InterPodAffinity": "suits its preferred pod affinity better",
    "NodeAffinity": "suits its preferred node affinity better",
    "TaintToleration": "has no taint that it would rather avoid",
    "ImageLocality": "has its images",
}


@dataclass(frozen=True, slots=True)
class Move:
    """`gain` is by how much the sum of the scores grows; `violated` tells that the pod may not be where it is."""

    info: PodInfo
    source: str
    target: str
    why: str
    gain: float = 0.0
    violated: bool = False


@dataclass(slots=True)
class Model:
    """`plugins` are those of the profile that a pod names, `movable` says whether it may be moved now."""

    cluster: Cluster
    plugins: Callable[[PodInfo], Sequence[Plugin]]
    movable: Callable[[PodInfo], bool]
    margin: float = MARGIN
    moved: set[str] = field(default_factory=set)


def plan(model: Model, most: int) -> Iterator[Move]:
    """At most so many moves, each counted on the model before it is given; those that end violations come first."""
    made = 0
    for violations in (True, False):
        again = True
        while again and made < most:
            again = False
            for move in _pass(model, violations=violations):
                yield move
                made, again = made + 1, True
                if made >= most:
                    return


def _pass(model: Model, *, violations: bool) -> Iterator[Move]:
    """Once over all pods, those of the fullest nodes first, and of these the least important."""
    cluster = model.cluster
    for row in _fullest_first(cluster):
        tried: set[object] = set()
        for info in sorted(cluster.pods(row), key=lambda pod: (pod.priority, pod.key)):
            owner = info.pod.metadata.controller
            kind = (owner.uid if owner is not None else "", info.group, info.shape)
            if kind in tried or info.key in model.moved or not model.movable(info):
                continue
            tried.add(kind)
            move = look(model, info, violations=violations)
            if move is not None:
                tried.discard(kind)
                yield move


def look(model: Model, info: PodInfo, *, violations: bool) -> Move | None:
    """The move of one pod, made on the model, if there is one that ends a violation, or one that only is better."""
    cluster = model.cluster
    row = cluster.placed_row(info.key)
    assert row is not None, "only placed pods are moved"
    source, anew, plugins = cluster.name(row), as_new(info), model.plugins(info)
    cluster.remove_pod(info.key)
    move = None
    try:
        refusing = _refusing(anew, cluster, row, plugins)
        if (refusing is not None) is violations:
            move = _best(model, info, anew, row, refusing)
    finally:
        if move is None:
            cluster.place(info, source)
    if move is None:
        return None
    if harms_others(model, info, move):
        cluster.place(info, source)
        return None
    cluster.place(info, move.target)
    model.moved.add(info.key)
    return move


def as_new(info: PodInfo) -> PodInfo:
    """The pod that its controller makes when it is gone."""
    return PodInfo(replace(info.pod, spec=replace(info.pod.spec, node_name="")), info.kin)


def _best(model: Model, info: PodInfo, anew: PodInfo, row: int, refusing: Plugin | None) -> Move | None:
    """Where a pod goes that was taken off its row, if that is worth it."""
    cluster, plugins = model.cluster, model.plugins(info)
    left = feasible(anew, cluster, plugins)
    if not left.any() or (refusing is None and not left[row]):
        return None
    marks = totals(anew, cluster, plugins, left)
    if marks is None:
        marks = np.where(left, 0.0, -np.inf)
    best = marks.max()
    # Of equals the scheduler takes any; the plan takes the first.
    target = int(np.flatnonzero(marks == best)[0])
    source, there = cluster.name(row), cluster.name(target)
    if target == row:
        return None
    if refusing is not None:
        refused = np.zeros(len(left), np.bool_)
        refused[row] = True
        words = ", ".join(text for text, _ in refusing.reasons(anew, cluster, refused))
        return Move(info, source, there, f"{source}: {words}", violated=True)
    gain = float(best - marks[row])
    if gain < model.margin:
        return None
    return Move(info, source, there, _why(anew, model, left, (row, target)), gain)


def feasible(info: PodInfo, cluster: Cluster, plugins: Sequence[Plugin]) -> Mask:
    """The rows where a pod may go."""
    left = cluster.live.copy()
    for plugin in plugins:
        if not plugin.filters:
            continue
        if plugin.refuse(info, cluster) is not None:
            return np.zeros(len(left), np.bool_)
        mask = plugin.filter(info, cluster)
        if mask is not None:
            left &= mask
    return left


def _refusing(info: PodInfo, cluster: Cluster, row: int, plugins: Sequence[Plugin]) -> Plugin | None:
    """The plugin that would not let a pod onto the row where it was."""
    for plugin in plugins:
        mask = plugin.filter(info, cluster) if plugin.filters and plugin.name not in _NOT_OF_RUNNING else None
        if mask is not None and not mask[row]:
            return plugin
    return None


def _why(info: PodInfo, model: Model, left: Mask, rows: tuple[int, int]) -> str:
    """The plugin to which the move matters most, in words."""
    row, target = rows
    differences: list[tuple[float, str]] = []
    for plugin in model.plugins(info):
        scores: Scores | None = plugin.score_among(info, model.cluster, left) if plugin.scores else None
        if scores is not None:
            differences.append((plugin.weight * float(scores[target] - scores[row]), plugin.name))
    _, name = max(differences)
    if name == "NodeResourcesFit":
        return f"{_fullness(model.cluster, row)}, {_fullness(model.cluster, target)}"
    return f"{model.cluster.name(target)} {_BETTER.get(name, f'is better for {name}')}"


def _fullness(cluster: Cluster, row: int) -> str:
    parts = zip((CPU, MEMORY), used(cluster)[row], strict=True)
    return f"{cluster.name(row)} has {', '.join(f'{share:.0%} of {name}' for name, share in parts)} taken"


def used(cluster: Cluster) -> Scores:
    """Row by row, the parts of CPU and memory that are taken, as scoring counts them."""
    return np.asarray(cluster.scored / np.maximum(cluster.allocatable[:, :2], 1))


def _fullest_first(cluster: Cluster) -> list[int]:
    taken = used(cluster).max(axis=1)
    rows = np.flatnonzero(cluster.live)
    return [int(row) for row in rows[np.argsort(-taken[rows], kind="stable")]]


def harms_others(model: Model, info: PodInfo, move: Move) -> bool:
    """Whether a pod that is where its constraints want it would not be any more."""
    cluster = model.cluster
    meant = list(_affected(cluster, info))
    if not meant:
        return False
    cluster.place(info, move.source)
    before = {other.key for other in meant if violates(other, cluster, model.plugins(other), _SHARED)}
    cluster.place(info, move.target)
    after = {other.key for other in meant if violates(other, cluster, model.plugins(other), _SHARED)}
    cluster.remove_pod(info.key)
    return not after <= before


def _affected(cluster: Cluster, info: PodInfo) -> Iterator[PodInfo]:
    """The other placed pods with a constraint that means this one, one of those that are alike."""
    seen: set[object] = set()
    for row, _ in cluster.nodes():
        for other in cluster.pods(row):
            hard = [each.who for each in other.spread if each.hard] + [each.who for each in other.terms.affinity]
            kind = (row, other.group, tuple(hard))
            if hard and kind not in seen and any(cluster.population.means(who, info) for who in hard):
                seen.add(kind)
                yield other


def violates(
    info: PodInfo, cluster: Cluster, plugins: Sequence[Plugin], among: frozenset[str] | None = None
) -> bool:  # fmt: skip
    """Whether a placed pod is where plugins (all, or those of the names) would not let it; the model stays as it is."""
    row = cluster.placed_row(info.key)
    assert row is not None, "only placed pods violate anything"
    chosen = [plugin for plugin in plugins if among is None or plugin.name in among]
    node = cluster.name(row)
    cluster.remove_pod(info.key)
    try:
        return _refusing(as_new(info), cluster, row, chosen) is not None
    finally:
        cluster.place(info, node)
