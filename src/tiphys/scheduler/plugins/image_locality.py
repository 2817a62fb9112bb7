"""ImageLocality: nodes that have the pod's images score higher, the more so the larger these are.

An image that few nodes have counts for less, so that these few do not get all the pods.
"""

from __future__ import annotations

import numpy as np

from tiphys.scheduler.cluster import Cluster, Scores
from tiphys.scheduler.images import full_names
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.pod import PodInfo

# Below this nothing is gained; above this, for each container, nothing more. Bytes; upstream's figures.
_LEAST, _MOST = 23 * 1024 * 1024, 1000 * 1024 * 1024


class ImageLocality(Plugin):
    name = "ImageLocality"

    def score(self, info: PodInfo, cluster: Cluster) -> Scores | None:
        spec = info.pod.spec
        names = full_names(container.image for container in (*spec.init_containers, *spec.containers))
        total: Scores | None = None
        for name in names:
            sizes = cluster.images.sizes(name)
            share = np.count_nonzero(sizes) / max(len(cluster), 1)
            if share:
                total = sizes * share if total is None else total + sizes * share
        if total is None:
            return None
        most = _MOST * len(names)
        return (np.clip(total, _LEAST, most) - _LEAST) * (100.0 / (most - _LEAST))
