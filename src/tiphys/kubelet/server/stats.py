"""Resource use of this node and its pods: /stats/summary and /metrics/resource. What the API's metrics are made of.

https://kubernetes.io/docs/reference/instrumentation/node-metrics/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tiphys.api.resource import Json
from tiphys.api.time import rfc3339, rfc3339_micro
from tiphys.kubelet.runtime import ContainerUsage
from tiphys.kubelet.usage import PodUsage
from tiphys.node.cgroups import Usage

# The names of /metrics/resource after `container_` and `pod_`, their type, and the field of what was read.
_RESOURCES = (("cpu_usage_seconds_total", "counter", "cpu_ns"), ("memory_working_set_bytes", "gauge", "working_set"))
_WHAT = {"cpu_ns": "CPU time in core-seconds", "working_set": "Working set in bytes"}


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """Of the whole machine: CPU in nanoseconds since boot, memory in bytes."""

    time: float
    cpu_ns: int
    working_set: int
    available: int


def node_usage(now: float) -> NodeUsage:
    """From /proc; blocking."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    # user, nice, system, irq, softirq, steal: all but idle and iowait, in hundredths of a second.
    busy = sum(int(fields[index]) for index in (0, 1, 2, 5, 6, 7))
    rows = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    memory = {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) > 1}
    available = memory.get("MemAvailable", 0)
    return NodeUsage(now, busy * 10_000_000, memory.get("MemTotal", 0) - available, available)


def summary(node: str, whole: NodeUsage, pods: Iterable[PodUsage], *, disk: bool) -> Json:
    """upstream's stats.Summary; without `disk` as for its parameter `only_cpu_and_memory`."""
    return {
        "node": {
            "nodeName": node, "cpu": _cpu(whole.time, whole.cpu_ns),
            "memory": {"time": rfc3339(whole.time), "workingSetBytes": whole.working_set,
                       "availableBytes": whole.available, "usageBytes": whole.working_set},
        },
        "pods": [_pod(pod, whole.time, disk) for pod in pods],
    }  # fmt: skip


def _cpu(time: float, nanoseconds: int) -> Json:
    # Rates are made of two of these, a second or a few apart: whole seconds would not do.
    return {"time": rfc3339_micro(time), "usageCoreNanoSeconds": nanoseconds}


def _pod(pod: PodUsage, now: float, disk: bool) -> Json:
    return {
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid}, "startTime": rfc3339(pod.started),
        "cpu": _cpu(now, pod.total.cpu_ns),
        "memory": {"time": rfc3339(now), "workingSetBytes": pod.total.working_set, "usageBytes": pod.total.memory,
                   "rssBytes": pod.total.rss},
        "containers": [_container(item, disk) for item in pod.containers],
    }  # fmt: skip


def _container(item: ContainerUsage, disk: bool) -> Json:
    time = rfc3339(item.time)
    found: Json = {
        "name": item.name, "cpu": _cpu(item.time, item.cpu_ns),
        "memory": {"time": time, "workingSetBytes": item.working_set, "usageBytes": item.memory, "rssBytes": item.rss},
    }  # fmt: skip
    if disk:
        found["rootfs"] = {"time": time, "usedBytes": item.disk, "inodesUsed": item.inodes}
    return found


def _head(name: str, kind: str, about: str) -> list[str]:
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]


def _of_container(item: ContainerUsage, pod: PodUsage) -> str:
    return f'container="{item.name}",namespace="{pod.namespace}",pod="{pod.name}"'


def _number(item: ContainerUsage | Usage, field: str) -> str:
    return f"{getattr(item, field) / (1e9 if field == 'cpu_ns' else 1):.15g}"


def metrics(whole: NodeUsage, pods: Sequence[PodUsage]) -> str:
    """Prometheus text with upstream's names, which metrics-server reads."""
    at = round(whole.time * 1000)
    lines = [
        *_head("node_cpu_usage_seconds_total", "counter", "CPU time that the node used, in core-seconds."),
        f"node_cpu_usage_seconds_total {whole.cpu_ns / 1e9} {at}",
        *_head("node_memory_working_set_bytes", "gauge", "Working set of the node in bytes."),
        f"node_memory_working_set_bytes {whole.working_set} {at}",
    ]
    for name, kind, field in _RESOURCES:
        lines += _head(f"container_{name}", kind, f"{_WHAT[field]} of the container.")
        for pod in pods:
            for item in pod.containers:
                number = _number(item, field)
                lines.append(f"container_{name}{{{_of_container(item, pod)}}} {number} {round(item.time * 1000)}")
        lines += _head(f"pod_{name}", kind, f"{_WHAT[field]} of the pod.")
        for pod in pods:
            where = f'namespace="{pod.namespace}",pod="{pod.name}"'
            lines.append(f"pod_{name}{{{where}}} {_number(pod.total, field)} {at}")
    lines += _head("container_start_time_seconds", "gauge", "When the container started, in seconds since 1970.")
    lines += (
        f"container_start_time_seconds{{{_of_container(item, pod)}}} {item.started:.15g}"
        for pod in pods
        for item in pod.containers
        if item.started
    )
    lines += _head("resource_scrape_error", "gauge", "1 if something could not be read, else 0.")
    lines.append("resource_scrape_error 0")
    return "\n".join(lines) + "\n"
