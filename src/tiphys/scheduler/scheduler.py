"""The scheduling loop: take a pod, choose a node, count it there at once, and bind it in the background.

The cluster's arrays are fed by informers; a pod is counted from the moment it is assumed, so the next decision sees it
without waiting for the API server. A binding that fails takes the assumption back.
"""

from __future__ import annotations

import asyncio

from tiphys.api.errors import ApiError, Conflict, NotFound
from tiphys.api.meta import ObjectMeta
from tiphys.api.time import rfc3339
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.base.metrics import Counter, Gauge
from tiphys.base.tasks import Supervisor
from tiphys.client.client import Client
from tiphys.client.events import EventRecorder, reference
from tiphys.client.informer import Informers
from tiphys.client.timers import Timers
from tiphys.client.transport import Unreachable
from tiphys.kinds.core.namespace import NAMESPACES, Namespace
from tiphys.kinds.core.node import NODES, Node
from tiphys.kinds.core.pod import PODS, Pod
from tiphys.scheduler import plugin
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.pipeline import DEFAULT, Unschedulable, choose
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.queue import SchedulingQueue

NAME = "default-scheduler"
_UNSCHEDULABLE = "Unschedulable"
_log = Log("scheduler")
_ATTEMPTS = Counter("scheduler_schedule_attempts_total", "Attempts to schedule pods, by result.", ("result", "profile"))
_PENDING = Gauge("scheduler_pending_pods", "Pods that have no node yet.")
# Bindings under way at once; each is one write of the API server, which groups their commits.
_BINDINGS = 256


class Scheduler:
    def __init__(self, client: Client, informers: Informers, clock: Clock) -> None:
        self._client, self._clock = client.of(PODS), clock
        self._pods, self._nodes = informers.of(PODS), informers.of(NODES)
        self._timers = Timers(clock)
        self._queue = SchedulingQueue(clock, self._timers)
        self._cluster = Cluster()
        self._recorder = EventRecorder(client, NAME, clock)
        self._slots = asyncio.Semaphore(_BINDINGS)
        # The uids of pods whose binding is under way, by key.
        self._assumed: dict[str, str] = {}
        # Pods whose node is not known yet, by the node's name.
        self._homeless: dict[str, dict[str, PodInfo]] = {}
        self._spaces = informers.of(NAMESPACES)
        self._spaces.add_handler(self._on_namespace)
        self._nodes.add_handler(self._on_node)
        self._pods.add_handler(self._on_pod)
        _PENDING.read_with(lambda: float(len(self._queue)))

    async def run(self) -> None:
        async with Supervisor(self._clock) as supervisor:
            supervisor.start("scheduler timers", self._timers.run)
            supervisor.start("scheduler events", self._recorder.run)
            await self._nodes.synced.wait()
            await self._pods.synced.wait()
            await self._spaces.synced.wait()
            while True:
                info = await self._queue.pop()
                await self._slots.acquire()
                self._schedule(info, supervisor)
                # Lets informers and bindings in between two decisions.
                await asyncio.sleep(0)

    def _schedule(self, info: PodInfo, supervisor: Supervisor) -> None:
        current = self._pods.get(info.key)
        if current is None or current.spec.node_name or current.deleted or info.key in self._assumed:
            self._slots.release()
            return
        found = choose(info, self._cluster)
        if isinstance(found, Unschedulable):
            _ATTEMPTS.inc("unschedulable", NAME)
            events = [p.retry_on for p in DEFAULT if p.name in found.plugins]
            self._queue.waits(info, frozenset().union(*events, {plugin.NODE_ADDED}))
            supervisor.once(f"refuse {info.key}", self._refuse(current, str(found)))
            return
        node = self._cluster.name(found)
        self._assumed[info.key] = info.pod.metadata.uid
        self._cluster.place(info, node)
        supervisor.once(f"bind {info.key}", self._bind(info, node))

    async def _bind(self, info: PodInfo, node: str) -> None:
        meta = info.pod.metadata
        binding = {
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }  # fmt: skip
        try:
            await self._client.create_json(binding, subresource="binding")
        except (ApiError, Unreachable) as error:
            self._take_back(info, error)
        else:
            _ATTEMPTS.inc("scheduled", NAME)
            self._recorder.record(
                reference("v1", "Pod", meta), "Scheduled", f"Successfully assigned {info.key} to {node}"
            )
        finally:
            self._slots.release()

    def _take_back(self, info: PodInfo, error: Exception) -> None:
        _ATTEMPTS.inc("error", NAME)
        _log.warning("binding failed", pod=info.key, error=str(error))
        if self._assumed.get(info.key) != info.pod.metadata.uid:
            # The informer was faster: the pod went, or is bound all the same, and counts where it says.
            return
        del self._assumed[info.key]
        self._cluster.remove_pod(info.key)
        self._queue.happened(plugin.POD_REMOVED)
        self._queue.back_off(info)

    async def _refuse(self, pod: Pod, why: str) -> None:
        """Say in the pod's condition and in an event why it waits."""
        try:
            meta = pod.metadata
            self._recorder.record(reference("v1", "Pod", meta), "FailedScheduling", why, warning=True)
            known = pod.status.condition("PodScheduled")
            since = known.last_transition_time if known is not None and known.status == "False" else None
            if known is not None and since and (known.reason, known.message) == (_UNSCHEDULABLE, why):
                return
            await self._write_condition(meta, why, since or rfc3339(self._clock.time()))
        finally:
            self._slots.release()

    async def _write_condition(self, meta: ObjectMeta, why: str, since: str) -> None:
        condition = {
            "type": "PodScheduled", "status": "False", "reason": _UNSCHEDULABLE, "message": why,
            "lastProbeTime": None, "lastTransitionTime": since,
        }  # fmt: skip
        patch = {"metadata": {"uid": meta.uid}, "status": {"conditions": [condition]}}
        try:
            await self._client.patch(meta, patch, kind="strategic", subresource="status")
        except (NotFound, Conflict):
            return
        except (ApiError, Unreachable) as error:
            _log.warning("condition not written", pod=meta.key, error=str(error))

    def _on_node(self, old: Node | None, new: Node | None) -> None:
        if new is None:
            assert old is not None, "a change has at least one side"
            left = {info.key: info for info in self._cluster.remove_node(old.metadata.name)}
            if left:
                self._homeless.setdefault(old.metadata.name, {}).update(left)
            return
        self._cluster.set_node(new)
        if old is None:
            for info in self._homeless.pop(new.metadata.name, {}).values():
                self._cluster.place(info, new.metadata.name)
            self._queue.happened(plugin.NODE_ADDED)
        elif _differs(old, new):
            self._queue.happened(plugin.NODE_CHANGED)

    def _on_namespace(self, old: Namespace | None, new: Namespace | None) -> None:
        gone = new or old
        assert gone is not None, "a change has at least one side"
        labels = new.metadata.labels if new is not None else None
        if self._cluster.population.set_namespace(gone.metadata.name, labels):
            self._queue.happened(plugin.NAMESPACE_CHANGED)

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        if old is not None and new is not None and old.metadata.uid != new.metadata.uid:
            # A list taken anew may show another pod of the same name.
            self._forget(old)
            old = None
        if new is None or new.finished:
            gone = new or old
            assert gone is not None, "a change has at least one side"
            self._forget(gone)
            return
        info = PodInfo(new)
        if new.spec.node_name:
            self._assumed.pop(info.key, None)
            self._queue.remove(info.key)
            if old is not None and not _counts_otherwise(old, new):
                return
            if not self._cluster.place(info, new.spec.node_name):
                self._homeless.setdefault(new.spec.node_name, {})[info.key] = info
            elif old is not None and old.spec.node_name:
                self._queue.happened(plugin.POD_CHANGED)
            else:
                self._queue.happened(plugin.POD_PLACED)
        elif info.key not in self._assumed and _wants_us(new) and _is_news(old, new):
            self._queue.add(info)

    def _forget(self, pod: Pod) -> None:
        key = pod.metadata.key
        self._queue.remove(key)
        self._assumed.pop(key, None)
        homeless = self._homeless.get(pod.spec.node_name, {})
        homeless.pop(key, None)
        if not homeless:
            self._homeless.pop(pod.spec.node_name, None)
        if self._cluster.remove_pod(key):
            self._queue.happened(plugin.POD_REMOVED)


def _wants_us(pod: Pod) -> bool:
    return pod.spec.scheduler_name == NAME and not pod.spec.scheduling_gates and not pod.deleted


def _is_news(old: Pod | None, new: Pod) -> bool:
    """Whether a change of a pod can matter to where it may go; its conditions cannot."""
    if old is None or old.metadata.uid != new.metadata.uid:
        return True
    return old.spec != new.spec or old.metadata.labels != new.metadata.labels


def _counts_otherwise(old: Pod, new: Pod) -> bool:
    """Whether a change of a placed pod can matter to others; its status cannot."""
    return old.spec != new.spec or old.metadata.labels != new.metadata.labels or old.deleted != new.deleted


def _differs(old: Node, new: Node) -> bool:
    """Whether a change of a node may make room; heartbeats do not."""
    return (
        old.spec != new.spec
        or old.metadata.labels != new.metadata.labels
        or old.status.allocatable != new.status.allocatable
    )
