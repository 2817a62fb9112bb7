"""NodeName: a pod that names its node goes there or nowhere."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.kinds.core.node import Node
from tiphys.scheduler.cluster import Cluster, Mask
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.pod import PodInfo


class NodeName(Plugin):
    name = "NodeName"

    def filter(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        wanted = info.pod.spec.node_name
        if not wanted:
            return None
        return cluster.where((self.name, wanted), lambda node: node.metadata.name == wanted)

    def helps(self, info: PodInfo, event: str, subject: Node | PodInfo) -> bool:
        return not isinstance(subject, Node) or subject.metadata.name == info.pod.spec.node_name

    def reasons(self, info: PodInfo, cluster: Cluster, refused: Mask) -> Iterator[tuple[str, int]]:
        yield "node(s) didn't match the requested node name", int(refused.sum())
