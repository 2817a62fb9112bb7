"""InterPodAffinity: pods that must, or would rather, run beside other pods or away from them, as either side says.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tiphys.kinds.core.node import Node
from tiphys.scheduler.cluster import Cluster, Mask, Scores
from tiphys.scheduler.matching import Term
from tiphys.scheduler.plugin import (
    NAMESPACE_CHANGED,
    NODE_ADDED,
    NODE_CHANGED,
    NODE_REMOVED,
    POD_CHANGED,
    POD_PLACED,
    POD_REMOVED,
    Plugin,
)
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.population import Counts


class InterPodAffinity(Plugin):
    """`hard_weight` is what a placed pod's required affinity to the new one scores, `ignore_placed` leaves its
    preferred terms out where the new pod has none of its own."""

    name = "InterPodAffinity"
    weight = 2.0
    retry_on = frozenset(
        {NODE_ADDED, NODE_CHANGED, NODE_REMOVED, POD_REMOVED, POD_CHANGED, POD_PLACED, NAMESPACE_CHANGED}
    )

    def __init__(self, hard_weight: int = 1, ignore_placed: bool = False) -> None:
        self.hard_weight, self.ignore_placed = hard_weight, ignore_placed

    def filter(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        mask: Mask | None = None
        for part in self._parts(info, cluster):
            mask = part if mask is None else mask & part
        return mask

    def _parts(self, info: PodInfo, cluster: Cluster) -> Iterator[Mask]:
        if info.terms.affinity:
            yield _attracted(info, cluster)
        if info.terms.anti_affinity:
            yield _repelled(info, cluster)
        if any(_refuses(term) for term in cluster.population.meant_by(info)):
            yield _unwelcome(info, cluster)

    def helps(self, info: PodInfo, event: str, subject: Node | PodInfo) -> bool:
        if isinstance(subject, Node):
            return True
        if event == POD_PLACED:
            return _meant(info.terms.affinity, subject)
        if event == POD_REMOVED:
            return _meant(info.terms.anti_affinity, subject) or _meant(subject.terms.anti_affinity, info)
        return True

    def lasting(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        return _attracted(info, cluster) if info.terms.affinity else None

    def reasons(self, info: PodInfo, cluster: Cluster, refused: Mask) -> Iterator[tuple[str, int]]:
        for test, words in (
            (_attracted, "node(s) didn't match pod affinity rules"),
            (_repelled, "node(s) didn't match pod anti-affinity rules"),
            (_unwelcome, "node(s) didn't satisfy existing pods anti-affinity rules"),
        ):
            here = refused & ~test(info, cluster)
            if here.any():
                yield words, int(here.sum())
            refused = refused & ~here

    def score_among(self, info: PodInfo, cluster: Cluster, left: Mask) -> Scores | None:
        total: Scores | None = None
        for term, weight, counts in self._weighted(info, cluster):
            more = _spread(term, counts, cluster) * weight
            total = more if total is None else total + more
        if total is None:
            return None
        least, most = total[left].min(), total[left].max()
        return (total - least) * (100.0 / (most - least)) if most > least else None

    def _weighted(self, info: PodInfo, cluster: Cluster) -> Iterator[tuple[Term, int, Counts]]:
        """The terms that score with their weights and, row by row, the pods for which each speaks."""
        own = info.terms.preferred
        for term in own:
            yield term, term.weight, cluster.population.census((term.who,))
        for term in () if self.ignore_placed and not own else cluster.population.meant_by(info):
            weight = term.weight or (0 if term.anti else self.hard_weight)
            if weight:
                yield term, weight, cluster.population.holders(term)


def _meant(terms: Sequence[Term], pod: PodInfo) -> bool:
    """Whether the labels are what one of the terms looks for; the namespace is left for the attempt to judge."""
    return any(term.who.selector.matches(pod.pod.metadata.labels) for term in terms)


def _refuses(term: Term) -> bool:
    return term.anti and not term.weight


def _spread(term: Term, counts: Counts, cluster: Cluster) -> Scores:
    """Row by row, how many pods the row's domain has."""
    domains = cluster.domains(term.topology_key)
    sums = domains.sums(counts)
    sums[0] = 0.0
    found: Scores = sums[domains.ids]
    return found


def _attracted(info: PodInfo, cluster: Cluster) -> Mask:
    """Where pods are that all terms mean; anywhere, if there are none and the pod is what it looks for."""
    terms = info.terms.affinity
    mask = labelled = np.ones(len(cluster.rows), np.bool_)
    if not terms:
        return mask
    counts = cluster.population.census(term.who for term in terms)
    some = False
    for term in terms:
        near = _spread(term, counts, cluster) > 0
        some = some or bool(near.any())
        mask = mask & near
        labelled = labelled & (cluster.domains(term.topology_key).ids > 0)
    if not some and all(cluster.population.means(term.who, info) for term in terms):
        return labelled
    return mask


def _repelled(info: PodInfo, cluster: Cluster) -> Mask:
    mask: Mask = np.ones(len(cluster.rows), np.bool_)
    for term in info.terms.anti_affinity:
        mask &= _spread(term, cluster.population.census((term.who,)), cluster) == 0
    return mask


def _unwelcome(info: PodInfo, cluster: Cluster) -> Mask:
    """Away from pods that do not want this one near."""
    mask: Mask = np.ones(len(cluster.rows), np.bool_)
    for term in cluster.population.meant_by(info):
        if _refuses(term):
            mask &= _spread(term, cluster.population.holders(term), cluster) == 0
    return mask
