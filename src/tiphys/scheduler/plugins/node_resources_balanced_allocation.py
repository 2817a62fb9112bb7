"""NodeResourcesBalancedAllocation: a node whose CPU and memory would be used alike scores higher."""

from __future__ import annotations

import numpy as np

from tiphys.scheduler.cluster import Cluster, Rows, Scores
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.pod import CPU, MEMORY, PodInfo


class NodeResourcesBalancedAllocation(Plugin):
    name = "NodeResourcesBalancedAllocation"
    whole = True

    def score(self, info: PodInfo, cluster: Cluster) -> Scores | None:
        wanted = info.requests.get(CPU, 0), info.requests.get(MEMORY, 0)
        if not any(wanted):
            # Such a pod changes the balance nowhere.
            return None
        return cluster.by_row((self.name, wanted), lambda rows: _balance(wanted, cluster, rows))


def _balance(wanted: tuple[int, int], cluster: Cluster, rows: Rows) -> Scores:
    cpu, memory = (
        np.minimum((cluster.requested[rows, column] + value) / np.maximum(cluster.allocatable[rows, column], 1), 1.0)
        for column, value in enumerate(wanted)
    )
    # The standard deviation of two fractions is half their distance.
    balance: Scores = np.floor(100.0 - np.abs(cpu - memory) * 50.0)
    return balance
