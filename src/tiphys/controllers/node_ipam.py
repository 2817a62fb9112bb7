"""Every node gets its range of the cluster's pod network, and no two the same.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/node-v1/ (spec.podCIDR)
"""

from __future__ import annotations

import ipaddress
from collections.abc import Set as AbstractSet

from tiphys.api.errors import NotFound
from tiphys.api.meta import Key
from tiphys.controllers.base import After, Context, Terminal
from tiphys.kinds.core.node import NODES, Node

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def plan(taken: AbstractSet[str], network: Network, prefix: int) -> str | None:
    """The first range of `network` that is not taken."""
    if len(taken) >= 1 << (prefix - network.prefixlen):
        return None
    return next((cidr for cidr in map(str, network.subnets(new_prefix=prefix)) if cidr not in taken), None)


class NodeIpam:
    """One worker, so that two nodes cannot be given one range; `prefix` is the length of a node's range."""

    name = "node-ipam-controller"
    workers = 1

    def __init__(self, context: Context, network: Network, prefix: int = 24) -> None:
        self._network, self._prefix = network, prefix
        self._client = context.client.of(NODES)
        # Ranges that the informer shows, and those given since that it does not show yet, by node.
        self._taken: set[str] = set()
        self._given: dict[str, str] = {}
        self._nodes = context.watch(NODES)
        self._nodes.add_handler(self._changed)

    async def reconcile(self, key: Key) -> After | None:
        node = self._nodes.get(key)
        if node is None or node.spec.pod_cidr:
            return None
        cidr = self._given.get(key) or plan(self._taken | set(self._given.values()), self._network, self._prefix)
        if cidr is None:
            raise Terminal(f"node {key} gets no pod range: {self._network} has no free /{self._prefix} left")
        self._given[key] = cidr
        patch = {"metadata": {"uid": node.metadata.uid}, "spec": {"podCIDR": cidr, "podCIDRs": [cidr]}}
        try:
            await self._client.patch(node.metadata, patch)
        except NotFound:
            return None
        return None

    def _changed(self, old: Node | None, new: Node | None) -> None:
        if old is not None:
            self._taken.difference_update(_ranges(old))
        if new is not None:
            self._taken.update(_ranges(new))
        if new is None or _ranges(new):
            self._given.pop((new or old).metadata.name, None)  # type: ignore[union-attr]


def _ranges(node: Node) -> set[str]:
    return {cidr for cidr in (node.spec.pod_cidr, *node.spec.pod_cidrs) if cidr}
