"""The node lifecycle controller: nodes that fall silent are marked so, and taints say what conditions mean.

A node lives as long as its Lease is renewed or its status posted, as seen by our own clock, so that the nodes' clocks
need not agree. It may be silent for as long as its Lease says. Nothing polls: each node has one timer. Silence counts
only while we listened: nodes get their whole time anew when the controller starts and when it was itself held up, and
none is given up before the API was asked for its Lease, since our informer may be behind.
Source: https://kubernetes.io/docs/concepts/architecture/nodes/#node-status
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from tiphys.api.errors import NotFound
from tiphys.api.meta import Key
from tiphys.api.resource import Json
from tiphys.api.time import rfc3339
from tiphys.client.events import reference
from tiphys.controllers.base import After, Context
from tiphys.controllers.pods import NODE, by_node
from tiphys.controllers.taints import NO_EXECUTE, NOT_READY, UNREACHABLE, wanted_taints
from tiphys.controllers.zones import Limiter, Pace, intervals, zone_of
from tiphys.kinds.coordination.lease import LEASES, Lease
from tiphys.kinds.core.node import NODES, Node
from tiphys.kinds.core.pod import PODS

LEASE_NAMESPACE = "kube-node-lease"
_CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
# Who comes so much too late to give up a node was not listening.
_HELD_UP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Grace:
    """Seconds of silence: of a node without a Lease, and of one that never reported."""

    silent: float = 40.0
    starting: float = 60.0


def lost_conditions(node: Node, now: float) -> list[Json]:
    """The conditions that a node which fell silent lacks, for a strategic patch; empty if it has them all."""
    stamp, found = rfc3339(now), []
    for type_ in _CONDITIONS:
        held = node.condition(type_)
        if held is not None and held.status == "Unknown":
            continue
        reason, text = ("NodeStatusUnknown", "Kubelet stopped posting node status.")
        if held is None:
            reason, text = "NodeStatusNeverUpdated", "Kubelet never posted node status."
        found.append({
            "type": type_, "status": "Unknown", "reason": reason, "message": text, "lastTransitionTime": stamp,
            "lastHeartbeatTime": stamp if held is None else held.last_heartbeat_time,
        })  # fmt: skip
    return found


class NodeLifecycleController:
    name = "node-controller"
    workers = 4

    def __init__(self, context: Context, grace: Grace | None = None, pace: Pace | None = None) -> None:
        self._context, self._grace, self._pace = context, grace or Grace(), pace or Pace()
        self._limiter = Limiter()
        # By node: when we last heard of it, by the monotonic clock, and what we heard.
        self._heard: dict[str, tuple[float, Any]] = {}
        self._leases = context.informers.of(LEASES, fieldSelector=f"metadata.namespace={LEASE_NAMESPACE}")
        self._leases.add_handler(self._lease_changed)
        self._nodes = context.watch(NODES)
        self._nodes.add_handler(self._node_changed)
        self._pods = context.informers.of(PODS)
        self._pods.add_index(NODE, by_node)
        self._client, self._pod_client = context.client.of(NODES), context.client.of(PODS)
        self._lease_client = context.client.of(LEASES)

    async def reconcile(self, key: Key) -> After | None:
        node = self._nodes.get(key)
        if node is None:
            self._heard.pop(key, None)
            return None
        now = self._context.clock.time()
        left = self._patience(node)
        if left <= 0 and lost_conditions(node, now) and await self._spoke(node, -left):
            left = self._patience(node)
        try:
            if left <= 0:
                node = await self._mark_lost(node, now)
                # Before anything else: Services lead there until then.
                await self._unready_pods(node, now)
            wait = await self._taint(node, now)
        except NotFound:
            return None
        times = [seconds for seconds in (left if left > 0 else None, wait) if seconds is not None]
        return After(min(times)) if times else None

    def _patience(self, node: Node) -> float:
        """Seconds for which the node may go on being silent."""
        lease = self._leases.get(f"{LEASE_NAMESPACE}/{node.metadata.name}")
        if lease is not None and lease.spec.lease_duration_seconds:
            grace = float(lease.spec.lease_duration_seconds)
        else:
            grace = self._grace.silent if node.condition("Ready") is not None else self._grace.starting
        # Of a node that we have heard nothing of since we began, we know nothing bad.
        now = self._context.clock.monotonic()
        return self._heard.setdefault(node.metadata.name, (now, None))[0] + grace - now

    async def _spoke(self, node: Node, late: float) -> bool:
        """Whether a node whose time is over, by `late` seconds, is to have it anew."""
        name = node.metadata.name
        heard = self._heard[name][1]
        if late > _HELD_UP_SECONDS:
            self._hear(name, heard)
            return True
        try:
            lease = await self._lease_client.get(name, LEASE_NAMESPACE)
        except NotFound:
            return False
        known = self._leases.get(f"{LEASE_NAMESPACE}/{name}")
        if known is not None and known.spec.renew_time == lease.spec.renew_time:
            return False
        self._hear(name, lease.spec.renew_time)
        return True

    async def _mark_lost(self, node: Node, now: float) -> Node:
        conditions = lost_conditions(node, now)
        if not conditions:
            return node
        if node.ready:
            about = reference("v1", "Node", node.metadata)
            text = f"Node {node.metadata.name} status is now: NodeNotReady"
            self._context.recorder.record(about, "NodeNotReady", text)
        patch = {"metadata": {"uid": node.metadata.uid}, "status": {"conditions": conditions}}
        marked: Node = await self._client.patch(node.metadata, patch, kind="strategic", subresource="status")
        return marked

    async def _taint(self, node: Node, now: float) -> float | None:
        """Write the taints that the node lacks; seconds until its pods may be driven off, if they have to wait."""
        evict, wait = self._eviction(node)
        taints = wanted_taints(node, evict=evict, now=now)
        if taints != node.spec.taints:
            meta = {"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version}
            wanted = msgspec.to_builtins(taints) or None
            await self._client.patch(node.metadata, {"metadata": meta, "spec": {"taints": wanted}})
        return wait

    def _eviction(self, node: Node) -> tuple[bool | None, float | None]:
        """Whether the node may be emptied (None: as before), and when to ask again."""
        ready = node.condition("Ready")
        if ready is None or ready.status == "True":
            return False, None
        name = node.metadata.name
        others = (each for each in self._nodes.items() if each.metadata.name != name)
        paces = intervals([node, *others], self._pace)
        if paces is None:
            # Nobody is ready: it is we who are cut off, or there is nowhere to go.
            return False, None
        held = [t.key for t in node.spec.taints if t.effect == NO_EXECUTE and t.key in (NOT_READY, UNREACHABLE)]
        if held:
            return True, None
        interval = paces.get(zone_of(node))
        if interval is None:
            return None, None
        wait = self._limiter.wait(zone_of(node), interval, self._context.clock.monotonic())
        return (None, wait) if wait else (True, None)

    async def _unready_pods(self, node: Node, now: float) -> None:
        """Services must not lead to pods of a lost node, and its kubelet cannot say so."""
        for pod in self._pods.by(NODE, node.metadata.name):
            if not pod.ready or pod.finished:
                continue
            condition = {"type": "Ready", "status": "False", "lastTransitionTime": rfc3339(now)}
            patch = {"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}}
            try:
                await self._pod_client.patch(pod.metadata, patch, kind="strategic", subresource="status")
            except NotFound:
                continue

    def _lease_changed(self, old: Lease | None, new: Lease | None) -> None:
        if new is None:
            return
        name, spoke = new.metadata.name, new.spec.renew_time
        if old is None or old.spec.renew_time != spoke:
            self._hear(name, spoke)
        if old is None or old.spec.lease_duration_seconds != new.spec.lease_duration_seconds:
            self._context.queue.add(name)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if new is not None:
            posted = _heartbeat(new)
            if old is None or posted != _heartbeat(old):
                self._hear(new.metadata.name, posted)
        if old is None or new is None or old.ready != new.ready:
            # What one zone or the whole can bear may be different now.
            for node in self._nodes.items():
                if not node.ready:
                    self._context.queue.add(node.metadata.name)

    def _hear(self, name: str, what: Any) -> None:
        self._heard[name] = (self._context.clock.monotonic(), what)


def _heartbeat(node: Node) -> str | None:
    """When the kubelet last posted; our own writes leave it alone."""
    condition = node.condition("Ready")
    return condition.last_heartbeat_time if condition is not None else None

