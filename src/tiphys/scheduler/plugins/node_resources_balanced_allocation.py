"""NodeResourcesBalancedAllocation: a node whose CPU and memory would be used alike scores higher."""

from __future__ import annotations

import numpy as np

from tiphys.scheduler.cluster import Cluster, Scores
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.pod import CPU, MEMORY, PodInfo


class NodeResourcesBalancedAllocation(Plugin):
    name = "NodeResourcesBalancedAllocation"

    def score(self, info: PodInfo, cluster: Cluster) -> Scores | None:
        wanted = [info.requests.get(CPU, 0), info.requests.get(MEMORY, 0)]
        if not any(wanted):
            # Such a pod changes the balance nowhere.
            return None
        total = np.maximum(cluster.allocatable[:, :2], 1)
        used = np.clip((cluster.requested[:, :2] + np.array(wanted, np.int64)) / total, 0.0, 1.0)
        # The standard deviation of two fractions is half their distance.
        balance: Scores = (1.0 - np.abs(used[:, 0] - used[:, 1]) / 2.0) * 100.0
        return balance
