"""NodePorts: two pods of one node cannot have the same host port on the same address."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tiphys.kinds.core.node import Node
from tiphys.scheduler.cluster import Cluster, Mask
from tiphys.scheduler.plugin import NODE_ADDED, POD_REMOVED, Plugin
from tiphys.scheduler.pod import HostPort, PodInfo

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
        for promised in cluster.nominated.values():
            other = promised.info
            above = other.pod.spec.priority >= info.pod.spec.priority
            if above and any(clash(one, two) for one in other.ports for two in info.ports):
                mask[promised.row] = False
        return mask

    def helps(self, info: PodInfo, event: str, subject: Node | PodInfo) -> bool:
        if isinstance(subject, Node):
            return True
        return any(clash(one, two) for one in subject.ports for two in info.ports)

    def lasting(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        return None

    def reasons(self, info: PodInfo, cluster: Cluster, refused: Mask) -> Iterator[tuple[str, int]]:
        yield "node(s) didn't have free ports for the requested pod ports", int(refused.sum())


def clash(one: HostPort, other: HostPort) -> bool:
    return one[1:] == other[1:] and (one[0] == other[0] or _ANY in (one[0], other[0]))
