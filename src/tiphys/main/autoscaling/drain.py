"""Emptying a node before it goes: a taint that keeps others away, then evictions within the budgets, one by one.

It is broken off, and the node stays, when pods find no place meanwhile or a budget allows nothing for too long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tiphys.api.errors import ApiError, NotFound, TooManyRequests
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.client.client import Client
from tiphys.client.informer import Informer
from tiphys.kinds.core.node import NODES, Node
from tiphys.kinds.core.pod import PODS, Pod
from tiphys.scheduler.movable import stays
from tiphys.scheduler.pod import PodInfo

TAINT = "ToBeDeletedByClusterAutoscaler"
_log = Log("cluster-autoscaler")
# For how long a node's pods are asked to go, and how often again. Seconds.
_PATIENCE, _AGAIN = 120.0, 1.0


class Drain:
    def __init__(self, client: Client, pods: Informer[Pod], clock: Clock, pressing: Callable[[], bool]) -> None:
        """`pressing` tells that every node is needed after all."""
        self._nodes, self._client, self._pods = client.of(NODES), client.of(PODS), pods
        self._clock, self._pressing = clock, pressing

    async def run(self, node: Node) -> bool:
        """Whether the node is empty now; if not, it is as it was. Raises ApiError and Unreachable."""
        await self._mark(node, True)
        empty = False
        try:
            empty = await self._empty(node.metadata.name)
        finally:
            if not empty:
                await asyncio.shield(self.undo(node))
        return empty

    async def undo(self, node: Node) -> None:
        """Let pods come again. Raises ApiError and Unreachable."""
        try:
            await self._mark(node, False)
        except NotFound:
            return

    async def _mark(self, node: Node, going: bool) -> None:
        taint = {"key": TAINT, "value": str(int(self._clock.time())), "effect": "NoSchedule"}
        known = [taint for taint in node.spec.taints if taint.key != TAINT]
        others = [{"key": each.key, "value": each.value, "effect": each.effect} for each in known]
        spec = {"taints": [*others, taint] if going else others or None, "unschedulable": True if going else None}
        await self._nodes.patch(node.metadata, {"spec": spec})

    async def _empty(self, name: str) -> bool:
        deadline = self._clock.monotonic() + _PATIENCE
        while left := self._left(name):
            if self._pressing():
                _log.info("the node is needed after all", node=name)
                return False
            if self._clock.monotonic() > deadline:
                _log.warning("pods do not leave a node", node=name, pods=[pod.metadata.key for pod in left][:5])
                return False
            for pod in left:
                if not pod.deleted:
                    await self._evict(pod)
            await self._clock.sleep(_AGAIN)
        return True

    def _left(self, name: str) -> list[Pod]:
        return [
            pod for pod in self._pods.items()
            if pod.spec.node_name == name and not pod.finished and not stays(PodInfo(pod))
        ]  # fmt: skip

    async def _evict(self, pod: Pod) -> None:
        meta = pod.metadata
        eviction = {
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": meta.name, "namespace": meta.namespace},
            "deleteOptions": {"preconditions": {"uid": meta.uid}},
        }  # fmt: skip
        try:
            await self._client.create_json(eviction, subresource="eviction")
        except (NotFound, TooManyRequests):
            # It is gone; or its budget allows nothing now, and it is asked again.
            return
        except ApiError as error:
            _log.warning("a pod is not evicted", pod=meta.key, error=str(error))
