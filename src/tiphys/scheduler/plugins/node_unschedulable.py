"""NodeUnschedulable: nothing new goes to a cordoned node, unless it tolerates the taint of that name."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.kinds.core.node import Node, Taint
from tiphys.kinds.core.taints import tolerates
from tiphys.scheduler.cluster import Cluster, Mask
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.pod import PodInfo

_TAINT = Taint("node.kubernetes.io/unschedulable", "NoSchedule")


class NodeUnschedulable(Plugin):
    name = "NodeUnschedulable"

    def filter(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        if any(tolerates(toleration, _TAINT) for toleration in info.pod.spec.tolerations):
            return None
        return cluster.where(self.name, lambda node: not node.spec.unschedulable)

    def helps(self, info: PodInfo, event: str, subject: Node | PodInfo) -> bool:
        return not isinstance(subject, Node) or not subject.spec.unschedulable

    def reasons(self, info: PodInfo, cluster: Cluster, refused: Mask) -> Iterator[tuple[str, int]]:
        yield "node(s) were unschedulable", int(refused.sum())
