"""NodeResourcesFit: enough of every requested resource; the emptier node scores higher (LeastAllocated)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tiphys.kinds.core.node import Node
from tiphys.scheduler.cluster import Cluster, Mask, Scores
from tiphys.scheduler.plugin import NODE_ADDED, NODE_CHANGED, POD_CHANGED, POD_REMOVED, Plugin
from tiphys.scheduler.pod import PODS, PodInfo, amount


class NodeResourcesFit(Plugin):
    name = "NodeResourcesFit"
    retry_on = frozenset({NODE_ADDED, NODE_CHANGED, POD_REMOVED, POD_CHANGED})

    def filter(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        fits: Mask = np.ones(len(cluster.rows), np.bool_)
        for name, value in info.requests.items():
            if value:
                fits &= ~_short(cluster, info, name)
        return fits

    def helps(self, info: PodInfo, event: str, subject: Node | PodInfo) -> bool:
        """A node must be large enough; a pod must have something that this one wants, as all have a pod's place."""
        if not isinstance(subject, Node):
            return True
        room = subject.status.allocatable
        return all(amount(name, room.get(name, "0")) >= value for name, value in info.requests.items() if value)

    def lasting(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        fits: Mask = np.ones(len(cluster.rows), np.bool_)
        for name, value in info.requests.items():
            column = cluster.columns.get(name)
            if value:
                fits &= cluster.allocatable[:, column] >= value if column is not None else False
        return fits

    def reasons(self, info: PodInfo, cluster: Cluster, refused: Mask) -> Iterator[tuple[str, int]]:
        for name, value in info.requests.items():
            short = refused & _short(cluster, info, name)
            if value and short.any():
                yield ("Too many pods" if name == PODS else f"Insufficient {name}"), int(short.sum())

    def score(self, info: PodInfo, cluster: Cluster) -> Scores | None:
        # Column by column: twice as fast as both at once, for sums along short rows are slow.
        free: Scores = np.zeros(len(cluster.rows))
        for column, wanted in enumerate(info.scored):
            used = (cluster.scored[:, column] + wanted) / np.maximum(cluster.allocatable[:, column], 1)
            free += np.maximum(1.0 - used, 0.0)
        free *= 50.0
        return free


def _short(cluster: Cluster, info: PodInfo, name: str) -> Mask:
    """The nodes that have less left than the pod requests; all of them where none has the resource."""
    left = cluster.available(name, info.pod.spec.priority)
    if left is None:
        return np.ones(len(cluster.rows), np.bool_)
    short: Mask = left < info.requests[name]
    return short
