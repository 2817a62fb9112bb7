"""The taint eviction controller: pods leave nodes with NoExecute taints that they do not, or no longer, tolerate.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions
"""

from __future__ import annotations

from tiphys.api.meta import Key
from tiphys.api.time import rfc3339, seconds
from tiphys.client.events import reference
from tiphys.controllers.base import After, Context
from tiphys.controllers.disruption import disrupt
from tiphys.controllers.pods import NODE, by_node
from tiphys.controllers.taints import NO_EXECUTE, borne_until
from tiphys.kinds.core.node import NODES, Node, Taint
from tiphys.kinds.core.pod import PODS, Pod

_REASON, _MESSAGE = "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"


def plan(pod: Pod, taints: list[Taint], now: float) -> float | None:
    """Seconds until the pod must go (0 or less: now), or None if it may stay. `taints` have their `time_added`."""
    if not taints or pod.deleted:
        return None
    arrived = _arrived(pod)

    def since(taint: Taint) -> float:
        return max(arrived, seconds(taint.time_added) if taint.time_added else now)

    end = borne_until(taints, pod.spec.tolerations, since)
    return None if end is None else end - now


def _arrived(pod: Pod) -> float:
    """When the pod came to its node: a taint that was there before counts from then."""
    scheduled = pod.status.condition("PodScheduled")
    stamp = scheduled.last_transition_time if scheduled is not None and scheduled.status == "True" else None
    stamp = stamp or pod.metadata.creation_timestamp
    return seconds(stamp) if stamp else 0.0


class TaintEvictionController:
    """Keys are those of pods."""

    name = "taint-eviction-controller"
    workers = 4

    def __init__(self, context: Context) -> None:
        self._context = context
        # When taints without a time of their own were first seen, by node, key and effect.
        self._seen: dict[tuple[str, str, str], str] = {}
        self._nodes = context.informers.of(NODES)
        self._pods = context.informers.of(PODS)
        self._pods.add_index(NODE, by_node)
        self._nodes.add_handler(self._node_changed)
        self._pods.add_handler(self._pod_changed)
        self._client = context.client.of(PODS)

    async def reconcile(self, key: Key) -> After | None:
        pod = self._pods.get(key)
        if pod is None or not pod.spec.node_name:
            return None
        now = self._context.clock.time()
        left = plan(pod, self._taints(pod.spec.node_name), now)
        if left is None:
            return None
        if left > 0:
            return After(left)
        about = reference("v1", "Pod", pod.metadata)
        self._context.recorder.record(about, "TaintManagerEviction", f"Marking for deletion Pod {key}")
        await disrupt(self._client, pod, _REASON, _MESSAGE, now=now)
        return None

    def _taints(self, name: str) -> list[Taint]:
        node = self._nodes.get(name)
        found = []
        for taint in node.spec.taints if node is not None else ():
            if taint.effect == NO_EXECUTE:
                added = taint.time_added or self._seen.get((name, taint.key, taint.effect))
                found.append(Taint(taint.key, taint.effect, taint.value, added))
        return found

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        before = _executing(old)
        after = _executing(new)
        if before == after:
            return
        node = new or old
        assert node is not None, "a change has a before or an after"
        name = node.metadata.name
        for key, effect in before - after:
            self._seen.pop((name, key, effect), None)
        for key, effect in after - before:
            self._seen[name, key, effect] = rfc3339(self._context.clock.time())
        for pod in self._pods.by(NODE, name):
            self._context.queue.add(pod.metadata.key)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if new is None or not new.spec.node_name:
            return
        now = (new.spec.node_name, new.spec.tolerations)
        same = old is not None and (old.spec.node_name, old.spec.tolerations) == now
        if not same and _executing(self._nodes.get(new.spec.node_name)):
            self._context.queue.add(new.metadata.key)


def _executing(node: Node | None) -> set[tuple[str, str]]:
    taints = node.spec.taints if node is not None else ()
    return {(taint.key, taint.effect) for taint in taints if taint.effect == NO_EXECUTE}
