"""The pod garbage collector: pods that no kubelet will ever end.

Those are pods of nodes that went, pods deleted before they had a node, pods of nodes out of service, and finished pods
beyond a number. Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-garbage-collection
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tiphys.api.errors import NotFound
from tiphys.api.meta import Key
from tiphys.controllers.base import After, Context
from tiphys.controllers.disruption import disrupt
from tiphys.controllers.pods import NODE, by_node
from tiphys.controllers.taints import OUT_OF_SERVICE
from tiphys.kinds.core.node import NODES, Node
from tiphys.kinds.core.pod import PODS, Pod

_FINISHED = "finished"
# A node that is made anew, with its pods still there, has this long to come back, seconds.
QUARANTINE = 40.0
_REASON = "DeletionByPodGC"


def plan(pod: Pod, node: Node | None) -> str:
    """Why the pod must be ended by force; empty if it need not. `node` is where it is bound, None if that is gone."""
    if not pod.spec.node_name:
        return "PodGC: the pod was deleted before it was scheduled" if pod.deleted else ""
    if node is None:
        return "PodGC: node no longer exists"
    out = any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints)
    if pod.deleted and out and not node.ready:
        return "PodGC: the node is out of service"
    return ""


def surplus(finished: Sequence[Pod], threshold: int) -> list[Pod]:
    """The oldest finished pods beyond `threshold`."""
    if len(finished) <= threshold:
        return []
    oldest = sorted(finished, key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.key))
    return oldest[: len(finished) - threshold]


class PodGarbageCollector:
    """Keys are those of pods; a threshold of 0 keeps every finished pod."""

    name = "pod-garbage-collector"
    workers = 2

    def __init__(self, context: Context, threshold: int = 12_500) -> None:
        self._context, self._threshold = context, threshold
        self._nodes = context.informers.of(NODES)
        self._pods = context.informers.of(PODS)
        self._pods.add_index(NODE, by_node)
        self._pods.add_index(_FINISHED, _finished)
        # Since when, by the monotonic clock, pods have been without their node.
        self._missing: dict[str, float] = {}
        self._nodes.add_handler(self._node_changed)
        self._pods.add_handler(self._pod_changed)
        self._client, self._node_client = context.client.of(PODS), context.client.of(NODES)

    async def reconcile(self, key: Key) -> After | None:
        pod = self._pods.get(key)
        if pod is None:
            self._missing.pop(key, None)
            return None
        if pod.finished:
            await self._trim()
        node = self._nodes.get(pod.spec.node_name)
        why = plan(pod, node)
        if not why:
            self._missing.pop(key, None)
            return None
        if pod.spec.node_name and node is None:
            now = self._context.clock.monotonic()
            left = self._missing.setdefault(key, now) + QUARANTINE - now
            if left > 0:
                return After(left)
            if await self._exists(pod.spec.node_name):
                return After(QUARANTINE)
        await disrupt(self._client, pod, _REASON, why, now=self._context.clock.time(), forced=True)
        return None

    async def _exists(self, node: str) -> bool:
        """Ask the server itself: an informer that is behind must not cost a pod its life."""
        try:
            await self._node_client.get(node)
        except NotFound:
            return False
        return True

    async def _trim(self) -> None:
        if not self._threshold:
            return
        for pod in surplus(self._pods.by(_FINISHED, ""), self._threshold):
            try:
                await self._client.delete(pod.metadata, grace=0)
            except NotFound:
                continue

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        node = new or old
        assert node is not None, "a change has a before or an after"
        if new is None or any(taint.key == OUT_OF_SERVICE for taint in new.spec.taints):
            for pod in self._pods.by(NODE, node.metadata.name):
                self._context.queue.add(pod.metadata.key)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        assert pod is not None, "a change has a before or an after"
        node = self._nodes.get(pod.spec.node_name)
        crowded = pod.finished and len(self._pods) > self._threshold > 0
        if new is None or crowded or plan(pod, node):
            self._context.queue.add(pod.metadata.key)


def _finished(pod: Pod) -> Iterable[str]:
    return ("",) if pod.finished else ()
