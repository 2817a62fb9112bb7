"""TaintToleration: untolerated NoSchedule and NoExecute taints refuse, PreferNoSchedule taints score lower.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tiphys.kinds.core.affinity import Toleration
from tiphys.kinds.core.node import Node, Taint
from tiphys.kinds.core.taints import tolerates
from tiphys.scheduler.cluster import Cluster, Mask, Scores
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.pod import PodInfo

HARD = ("NoSchedule", "NoExecute")


def untolerated(node: Node, tolerations: Sequence[Toleration], effects: Sequence[str]) -> list[Taint]:
    """The node's taints of these effects that none of the tolerations tolerates."""
    return [
        taint
        for taint in node.spec.taints
        if taint.effect in effects and not any(tolerates(toleration, taint) for toleration in tolerations)
    ]


class TaintToleration(Plugin):
    name = "TaintToleration"
    weight = 3.0

    def filter(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        tolerations = info.pod.spec.tolerations
        return cluster.where((self.name, tuple(tolerations)), lambda node: not untolerated(node, tolerations, HARD))

    def helps(self, info: PodInfo, event: str, subject: Node | PodInfo) -> bool:
        return not isinstance(subject, Node) or not untolerated(subject, info.pod.spec.tolerations, HARD)

    def reasons(self, info: PodInfo, cluster: Cluster, refused: Mask) -> Iterator[tuple[str, int]]:
        yield "node(s) had untolerated taint(s)", int(refused.sum())

    def score(self, info: PodInfo, cluster: Cluster) -> Scores | None:
        tolerations = info.pod.spec.tolerations
        soft = ("PreferNoSchedule",)
        tainted = cluster.where(soft, lambda node: bool(untolerated(node, (), soft)))
        if not tainted.any():
            return None
        counts = np.zeros(len(cluster.rows))
        for row, node in cluster.nodes():
            if tainted[row]:
                counts[row] = len(untolerated(node, tolerations, soft))
        most = counts.max()
        scores: Scores = (1.0 - counts / most) * 100.0 if most else np.full(len(counts), 100.0)
        return scores
