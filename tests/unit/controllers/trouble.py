"""What the tests of trouble share: workloads of every kind, letting hours go by, and counting what they cost."""

from __future__ import annotations

from typing import Any

from tiphys.base.clock import settle
from tiphys.kinds.apps.daemonset import DAEMON_SETS
from tiphys.kinds.apps.deployment import DEPLOYMENTS
from tiphys.kinds.apps.replicaset import REPLICA_SETS
from tiphys.kinds.apps.statefulset import STATEFUL_SETS
from tiphys.kinds.batch.job import JOBS
from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.pod import PODS, Pod

KINDS = {
    "Deployment": DEPLOYMENTS, "ReplicaSet": REPLICA_SETS, "StatefulSet": STATEFUL_SETS, "DaemonSet": DAEMON_SETS,
    "Job": JOBS,
}  # fmt: skip


def workload(kind: str, name: str, count: int, *, labels: dict[str, str] | None = None, **pod: Any) -> dict[str, Any]:
    labels = labels or {"app": name}
    spec: dict[str, Any] = {"containers": [{"name": "c", "image": "app:1"}], **pod}
    made: dict[str, Any] = {"template": {"metadata": {"labels": labels}, "spec": spec}}
    if kind == "Job":
        spec["restartPolicy"] = "Never"
        made |= {"parallelism": count, "completions": count}
    else:
        made |= {"selector": {"matchLabels": labels}}
    if kind in ("Deployment", "ReplicaSet", "StatefulSet"):
        made["replicas"] = count
    if kind == "StatefulSet":
        made |= {"serviceName": name, "podManagementPolicy": "Parallel"}
    return {"metadata": {"name": name}, "spec": made}


async def add_nodes(cluster: Any, count: int) -> None:
    """Nodes without the taint that new ones bear until they are ready."""
    for number in range(count):
        await cluster.add_node(f"n{number}")
        await cluster.patch(NODES, f"n{number}", {"spec": {"taints": None}})


async def owners(cluster: Any, count: int) -> dict[str, list[Pod]]:
    """The pods that run, by the name of their controller, once there are `count`."""

    async def check() -> Any:
        pods = [pod for pod in await cluster.list(PODS, "default") if not pod.deleted and not pod.finished]
        return pods if len(pods) == count and all(pod.metadata.controller for pod in pods) else None

    found: dict[str, list[Pod]] = {}
    for pod in await cluster.until(check, f"{count} pods, all owned"):
        found.setdefault(pod.metadata.controller.name, []).append(pod)
    return found


async def passes(cluster: Any, seconds: float, step: float = 20.0) -> int:
    """Let time go by in steps; how many writes there were meanwhile, of whatever kind."""
    before = (await cluster.client.of(PODS).list())[1]
    for _ in range(round(seconds / step)):
        await cluster.clock.advance(step)
        await settle(100)
    return int((await cluster.client.of(PODS).list())[1]) - int(before)


async def event(cluster: Any, reason: str, text: str = "", kind: str = "") -> Any:
    """The event that tells so; time may go by until its recorder writes it."""

    async def check() -> Any:
        await cluster.clock.advance(0.1)
        for held in await cluster.list(EVENTS, "default"):
            if held.reason == reason and text in held.message and kind in ("", held.involved_object.kind):
                return held
        return None

    return await cluster.until(check, f"event {reason} {text}")


async def told(cluster: Any, reason: str) -> int:
    """How often an event was recorded, counting those that repeat."""
    return sum(held.count or 1 for held in await cluster.list(EVENTS, "default") if held.reason == reason)
