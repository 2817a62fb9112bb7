"""NodePorts: two pods of one node cannot have the same host port on the same address."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tiphys.scheduler.cluster import Cluster, Mask, Row
from tiphys.scheduler.plugin import NODE_ADDED, POD_REMOVED, Plugin
from tiphys.scheduler.pod import HostPort, PodInfo

_ANY = "0.0.0.0"  # noqa: S104 - the API's word for any address


class NodePorts(Plugin):
    name = "NodePorts"
    retry_on = frozenset({NODE_ADDED, POD_REMOVED})

    def filter(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        if not info.ports:
            return None
        mask = np.zeros(len(cluster.rows), np.bool_)
        for row, entry in enumerate(cluster.rows):
            mask[row] = entry is not None and not any(_taken(entry, port) for port in info.ports)
        return mask

    def reasons(self, info: PodInfo, cluster: Cluster, refused: Mask) -> Iterator[tuple[str, int]]:
        yield "node(s) didn't have free ports for the requested pod ports", int(refused.sum())


def _taken(entry: Row, wanted: HostPort) -> bool:
    address, protocol, number = wanted
    return any(
        (protocol, number) == (taken[1], taken[2]) and (address in (taken[0], _ANY) or taken[0] == _ANY)
        for taken in entry.ports
    )
