"""NodePorts: two pods of one node cannot have the same host port on the same address."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tiphys.scheduler.cluster import Cluster, Mask
from tiphys.scheduler.plugin import NODE_ADDED, POD_REMOVED, Plugin
from tiphys.scheduler.pod import PodInfo

_ANY = "0.0.0.0"  # noqa: S104 - the API's word for any address


class NodePorts(Plugin):
    name = "NodePorts"
    retry_on = frozenset({NODE_ADDED, POD_REMOVED})

    def filter(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        if not info.ports:
            return None
        mask = np.ones(len(cluster.rows), np.bool_)
        for wanted, protocol, number in info.ports:
            for address, rows in cluster.ports.get((protocol, number), {}).items():
                if address in (wanted, _ANY) or wanted == _ANY:
                    mask[list(rows)] = False
        return mask

    def reasons(self, info: PodInfo, cluster: Cluster, refused: Mask) -> Iterator[tuple[str, int]]:
        yield "node(s) didn't have free ports for the requested pod ports", int(refused.sum())
