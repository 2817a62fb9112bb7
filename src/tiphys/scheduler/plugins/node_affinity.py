"""NodeAffinity: nodeSelector and required node affinity refuse, preferred node affinity scores.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#node-affinity
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tiphys.kinds.core.affinity import NodeAffinity as Affinity
from tiphys.kinds.core.affinity import NodeSelectorTerm
from tiphys.kinds.core.node import Node
from tiphys.kinds.core.node_selector import term_matches
from tiphys.scheduler.cluster import Cluster, Mask, Scores
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.pod import PodInfo


def term_key(term: NodeSelectorTerm) -> tuple[object, ...]:
    return tuple(
        tuple((r.key, r.operator, tuple(r.values)) for r in rules)
        for rules in (term.match_expressions, term.match_fields)
    )


class NodeAffinity(Plugin):
    name = "NodeAffinity"
    weight = 2.0

    def __init__(self, added: Affinity | None = None) -> None:
        """`added` is asked of every node besides what the pod asks (a profile's `addedAffinity`)."""
        self._added = added

    def filter(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        selector, affinity = info.pod.spec.node_selector, info.pod.spec.affinity.node_affinity
        mask: Mask | None = None
        if selector:
            wanted = tuple(sorted(selector.items()))
            mask = cluster.where(
                (self.name, wanted), lambda node: all(node.metadata.labels.get(k) == v for k, v in wanted)
            )
        if affinity is not None and affinity.required is not None:
            required = self._required(affinity, cluster)
            mask = required if mask is None else mask & required
        if self._added is not None and self._added.required is not None:
            required = self._required(self._added, cluster)
            mask = required if mask is None else mask & required
        return mask

    def _required(self, affinity: Affinity, cluster: Cluster) -> Mask:
        assert affinity.required is not None, "asked for only where there is one"
        mask = np.zeros(len(cluster.rows), np.bool_)
        for term in affinity.required.node_selector_terms:
            mask = mask | self._term(term, cluster)
        return mask

    def _term(self, term: NodeSelectorTerm, cluster: Cluster) -> Mask:
        return cluster.where((self.name, "term", term_key(term)), lambda node: term_matches(term, node))

    def helps(self, info: PodInfo, event: str, subject: Node | PodInfo) -> bool:
        if not isinstance(subject, Node):
            return True
        labels, affinity = subject.metadata.labels, info.pod.spec.affinity.node_affinity
        if any(labels.get(key) != value for key, value in info.pod.spec.node_selector.items()):
            return False
        required = affinity.required if affinity is not None else None
        return required is None or any(term_matches(term, subject) for term in required.node_selector_terms)

    def reasons(self, info: PodInfo, cluster: Cluster, refused: Mask) -> Iterator[tuple[str, int]]:
        yield "node(s) didn't match Pod's node affinity/selector", int(refused.sum())

    def score(self, info: PodInfo, cluster: Cluster) -> Scores | None:
        sources = (info.pod.spec.affinity.node_affinity, self._added)
        terms = [term for each in sources if each is not None for term in each.preferred]
        if not terms:
            return None
        weights = np.zeros(len(cluster.rows))
        for preferred in terms:
            weights += self._term(preferred.preference, cluster) * preferred.weight
        most = weights.max(initial=0.0)
        scores: Scores = weights * (100.0 / most) if most else weights
        return scores
