"""Every node gets its range of the cluster's pod network, and no two the same.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/node-v1/ (spec.podCIDR)
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from tiphys.api.meta import Key
from tiphys.controllers.base import After, Context, Terminal
from tiphys.kinds.core.node import NODES, Node

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class NodeIpam:
    """One worker, so that two nodes cannot be given one range; `prefix` is the length of a node's range."""

    name = "node-ipam-controller"
    workers = 1

    def __init__(self, context: Context, network: Network, prefix: int = 24) -> None:
        self._network, self._prefix = network, prefix
        self._client = context.client.of(NODES)
        self._nodes = context.watch(NODES)

    async def reconcile(self, key: Key) -> After | None:
        node = self._nodes.get(key)
        if node is None or node.spec.pod_cidr:
            return None
        cidr = plan(self._nodes.items(), self._network, self._prefix)
        if cidr is None:
            raise Terminal(f"node {key} gets no pod range: {self._network} has no free /{self._prefix} left")
        await self._client.patch(node.metadata, {"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}}, kind="strategic")
        return None


def plan(nodes: Iterable[Node], network: Network, prefix: int) -> str | None:
    """The first range of `network` that no node has."""
    taken = {cidr for node in nodes for cidr in (node.spec.pod_cidrs or [node.spec.pod_cidr])}
    return next((str(subnet) for subnet in network.subnets(new_prefix=prefix) if str(subnet) not in taken), None)
