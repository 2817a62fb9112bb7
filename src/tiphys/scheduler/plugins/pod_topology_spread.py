"""PodTopologySpread: DoNotSchedule constraints refuse what would make the skew too large, ScheduleAnyway ones score.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce

import numpy as np

from tiphys.kinds.core.affinity import TopologySpreadConstraint
from tiphys.kinds.core.node import Node
from tiphys.scheduler.cluster import Cluster, Mask, Scores
from tiphys.scheduler.matching import HOSTNAME, ZONE, Spread, among, spread
from tiphys.scheduler.plugin import NODE_ADDED, NODE_CHANGED, NODE_REMOVED, POD_CHANGED, POD_PLACED, POD_REMOVED, Plugin
from tiphys.scheduler.plugins.node_affinity import NodeAffinity
from tiphys.scheduler.plugins.taint_toleration import TaintToleration
from tiphys.scheduler.pod import PodInfo

# What upstream's scheduler does for pods that say nothing and have kin.
SYSTEM = (TopologySpreadConstraint(3, HOSTNAME, "ScheduleAnyway"), TopologySpreadConstraint(5, ZONE, "ScheduleAnyway"))
_WORDS = "node(s) didn't match pod topology spread constraints"


class PodTopologySpread(Plugin):
    name = "PodTopologySpread"
    weight = 2.0
    retry_on = frozenset({NODE_ADDED, NODE_CHANGED, NODE_REMOVED, POD_REMOVED, POD_CHANGED, POD_PLACED})
    _affinity, _taints = NodeAffinity(), TaintToleration()

    def __init__(self, defaults: Sequence[TopologySpreadConstraint] | None = None) -> None:
        """`defaults` are for pods without constraints of their own; None are the system's."""
        self._defaults, self._lenient = SYSTEM if defaults is None else defaults, defaults is None

    def _constraints(self, info: PodInfo) -> Sequence[Spread]:
        if info.pod.spec.topology_spread_constraints:
            return info.spread
        if not self._defaults or info.kinship is None:
            return ()
        return [spread(each, among(info.kinship, info.pod)) for each in self._defaults]

    def _hard(self, info: PodInfo) -> list[Spread]:
        return [each for each in self._constraints(info) if each.hard]

    def filter(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        hard = self._hard(info)
        if not hard:
            return None
        labelled = _labelled(hard, cluster)
        return reduce(np.logical_and, (self._fits(each, info, cluster, labelled) for each in hard), labelled)

    def _fits(self, constraint: Spread, info: PodInfo, cluster: Cluster, labelled: Mask) -> Mask:
        eligible = self._eligible(constraint, info, cluster, labelled)
        domains = cluster.domains(constraint.topology_key)
        pods = domains.sums(cluster.population.census((constraint.who,)) * eligible)
        there = domains.sums(eligible) > 0
        least = pods[there].min() if there.sum() >= constraint.min_domains else 0.0
        itself = cluster.population.means(constraint.who, info)
        fits: Mask = (pods + (itself - least) <= constraint.max_skew)[domains.ids]
        return fits

    def _eligible(self, constraint: Spread, info: PodInfo, cluster: Cluster, labelled: Mask) -> Mask:
        """The nodes whose pods count."""
        for honored, plugin in ((constraint.honor_affinity, self._affinity), (constraint.honor_taints, self._taints)):
            mask = plugin.filter(info, cluster) if honored else None
            if mask is not None:
                labelled = labelled & mask
        return labelled

    def helps(self, info: PodInfo, event: str, subject: Node | PodInfo) -> bool:
        hard = self._hard(info)
        if isinstance(subject, Node):
            return all(each.topology_key in subject.metadata.labels for each in hard)
        return any(each.who.selector.matches(subject.pod.metadata.labels) for each in hard)

    def lasting(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        hard = self._hard(info)
        return _labelled(hard, cluster) if hard else None

    def reasons(self, info: PodInfo, cluster: Cluster, refused: Mask) -> Iterator[tuple[str, int]]:
        unlabelled = refused & ~_labelled(self._hard(info), cluster)
        if unlabelled.any():
            yield f"{_WORDS} (missing required label)", int(unlabelled.sum())
        if (refused & ~unlabelled).any():
            yield _WORDS, int((refused & ~unlabelled).sum())

    def score_among(self, info: PodInfo, cluster: Cluster, left: Mask) -> Scores | None:
        soft = [each for each in self._constraints(info) if not each.hard]
        return self._score(soft, info, cluster, left) if soft else None

    def _score(self, soft: Sequence[Spread], info: PodInfo, cluster: Cluster, left: Mask) -> Scores:
        """Fewer pods of the kind in a node's domain are better; a domain weighs more the more of them there are."""
        # The system's own constraints are not to keep a node from its score that lacks a label.
        system = self._lenient and not info.pod.spec.topology_spread_constraints
        labelled = cluster.live if system else _labelled(soft, cluster)
        rows = left & labelled
        total: Scores = np.zeros(len(left))
        for constraint in soft:
            domains = cluster.domains(constraint.topology_key)
            pods = cluster.population.census((constraint.who,))
            if constraint.topology_key == HOSTNAME:
                size = int(rows.sum())
                crowd: Scores = pods.astype(np.float64)
            else:
                size = int((domains.sums(rows)[1:] > 0).sum())
                eligible = self._eligible(constraint, info, cluster, labelled)
                crowd = domains.sums(pods * eligible)[domains.ids]
            points = crowd * np.log(size + 2) + (constraint.max_skew - 1)
            total += np.where(domains.ids > 0, points, 0.0)
        total = np.round(total)
        return _turned(total, rows)


def _turned(total: Scores, rows: Mask) -> Scores:
    """Upstream's scale: 100 times (most + least - own) / most."""
    if not rows.any():
        return np.zeros(len(total))
    held = total[rows]
    most, least = held.max(), held.min()
    if not most:
        return np.where(rows, 100.0, 0.0)
    return np.where(rows, (most + least - total) * (100.0 / most), 0.0)


def _labelled(constraints: Sequence[Spread], cluster: Cluster) -> Mask:
    """The nodes that have the label of every constraint."""
    mask: Mask = cluster.live
    for constraint in constraints:
        mask = mask & (cluster.domains(constraint.topology_key).ids > 0)
    return mask
