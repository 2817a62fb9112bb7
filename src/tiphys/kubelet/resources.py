"""Requests and limits: a pod's QoS class, its cgroup's limits, a container's share of the kernel. Pure.

https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tiphys.api import quantity
from tiphys.api.quantity import Quantity
from tiphys.kinds.core.container import Container
from tiphys.kinds.core.pod import Pod
from tiphys.kubelet.runtime import Resources
from tiphys.node import cgroups

GUARANTEED, BURSTABLE, BEST_EFFORT = "Guaranteed", "Burstable", "BestEffort"
_OOM = {GUARANTEED: -997, BEST_EFFORT: 1000}
_CRITICAL_PRIORITY = 2_000_000_000


def amount(table: Mapping[str, str], name: str) -> Quantity:
    text = table.get(name)
    return quantity.parse(text) if text else quantity.ZERO


def qos_class(pod: Pod) -> str:
    """Guaranteed: every container limits CPU and memory and asks for just that; BestEffort: none says anything."""
    if pod.spec.resources.requests or pod.spec.resources.limits:
        tables = [pod.spec.resources]
    else:
        tables = [container.resources for container in (*pod.spec.init_containers, *pod.spec.containers)]
    said = [(table.requests, table.limits) for table in tables]
    if not any(amount(table, name) for pair in said for table in pair for name in ("cpu", "memory")):
        return BEST_EFFORT
    for requests, limits in said:
        for name in ("cpu", "memory"):
            limit = amount(limits, name)
            if not limit or (requests.get(name) and amount(requests, name) != limit):
                return BURSTABLE
    return GUARANTEED


def oom_score_adj(pod: Pod, container: Container, memory_capacity: int) -> int:
    """How soon the kernel kills it when memory runs out: the less it asks for, the sooner."""
    if pod.spec.priority >= _CRITICAL_PRIORITY:
        return _OOM[GUARANTEED]
    qos = qos_class(pod)
    if qos in _OOM:
        return _OOM[qos]
    share = 1000 * amount(container.resources.requests, "memory").value() // max(memory_capacity, 1)
    # Between what Guaranteed and BestEffort get, never the same as either.
    return max(3, min(999, 1000 - share))


def container_resources(pod: Pod, container: Container, memory_capacity: int) -> Resources:
    limits = container.resources.limits
    requests = container.resources.requests
    cpu = amount(requests, "cpu") or amount(limits, "cpu")
    return Resources(
        cgroups.shares(cpu.milli()), cgroups.quota(amount(limits, "cpu").milli()), amount(limits, "memory").value(),
        oom_score_adj(pod, container, memory_capacity),
    )  # fmt: skip


def _total(pod: Pod, kind: str, name: str) -> Quantity:
    """What the pod needs at once: main containers and sidecars together, or the largest init container if more."""
    whole = getattr(pod.spec.resources, kind)
    if whole.get(name):
        return amount(whole, name)
    running, most = quantity.ZERO, quantity.ZERO
    for init in pod.spec.init_containers:
        need = amount(getattr(init.resources, kind), name)
        if init.sidecar:
            running = running + need
            most = max(most, running)
        else:
            most = max(most, running + need)
    for container in pod.spec.containers:
        running = running + amount(getattr(container.resources, kind), name)
    return max(running, most) + amount(pod.spec.overhead, name)


def requested(pod: Pod, name: str) -> Quantity:
    """What the pod asks the node for."""
    return _total(pod, "requests", name)


def pod_limits(pod: Pod) -> cgroups.Limits:
    """Limits of the pod's own cgroup; a resource is limited only when every container limits it."""
    every: Iterable[Container] = [*pod.spec.init_containers, *pod.spec.containers]

    def limited(name: str) -> bool:
        return bool(pod.spec.resources.limits.get(name)) or all(c.resources.limits.get(name) for c in every)

    return cgroups.Limits(
        cgroups.shares(_total(pod, "requests", "cpu").milli()),
        cgroups.quota(_total(pod, "limits", "cpu").milli()) if limited("cpu") else 0,
        _total(pod, "limits", "memory").value() if limited("memory") else 0,
    )
