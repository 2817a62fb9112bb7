"""NodeResourcesFit: enough of every requested resource; the emptier node scores higher (LeastAllocated)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tiphys.scheduler.cluster import Cluster, Mask, Scores
from tiphys.scheduler.plugin import NODE_ADDED, NODE_CHANGED, POD_CHANGED, POD_REMOVED, Plugin
from tiphys.scheduler.pod import PODS, PodInfo


class NodeResourcesFit(Plugin):
    name = "NodeResourcesFit"
    retry_on = frozenset({NODE_ADDED, NODE_CHANGED, POD_REMOVED, POD_CHANGED})

    def filter(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        columns, wanted = cluster.vector(dict(info.requests))
        free = cluster.allocatable[:, columns] - cluster.requested[:, columns]
        fits: Mask = np.all(free >= wanted, axis=1)
        return fits

    def reasons(self, info: PodInfo, cluster: Cluster, refused: Mask) -> Iterator[tuple[str, int]]:
        for name, value in info.requests.items():
            column = cluster.columns.get(name)
            if not value or column is None:
                continue
            short = refused & (cluster.allocatable[:, column] - cluster.requested[:, column] < value)
            if short.any():
                yield ("Too many pods" if name == PODS else f"Insufficient {name}"), int(short.sum())

    def score(self, info: PodInfo, cluster: Cluster) -> Scores | None:
        total = np.maximum(cluster.allocatable[:, :2], 1)
        used = cluster.scored + np.array(info.scored, np.int64)
        free: Scores = np.clip((total - used) / total, 0.0, 1.0).mean(axis=1) * 100.0
        return free
