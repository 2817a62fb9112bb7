"""What /metrics/cadvisor shows: the use of each container and pod under cAdvisor's names, as dashboards expect them.

A series without `container` is of the pod's whole cgroup, as there. What a runtime does not count has no series.
Source: https://github.com/google/cadvisor/blob/master/docs/storage/prometheus.md
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tiphys.kubelet.server.stats import NodeUsage
from tiphys.kubelet.usage import PodUsage


@dataclass(frozen=True, slots=True)
class Machine:
    cores: int
    memory: int


def machine() -> Machine:
    """Of the whole machine, memory in bytes."""
    return Machine(os.cpu_count() or 1, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


# Name, type, help, and the value of a container and of a pod.
_FAMILIES = (
    ("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.", "cpu_ns", 1e9),
    ("container_memory_working_set_bytes", "gauge", "Current working set in bytes.", "working_set", 1),
    ("container_memory_usage_bytes", "gauge", "Current memory usage in bytes.", "memory", 1),
    ("container_memory_rss", "gauge", "Size of RSS in bytes.", "rss", 1),
    ("container_fs_usage_bytes", "gauge", "Number of bytes that the container uses on its filesystem.", "disk", 1),
    ("container_fs_inodes_used", "gauge", "Number of inodes that the container uses.", "inodes", 1),
    ("container_start_time_seconds", "gauge", "Start time of the pod since unix epoch in seconds.", "started", 1),
)


def metrics(machine: Machine, whole: NodeUsage, pods: Sequence[PodUsage]) -> str:
    """Prometheus text; times are in milliseconds."""
    lines = [
        "# HELP machine_cpu_cores Number of logical CPU cores.", "# TYPE machine_cpu_cores gauge",
        f"machine_cpu_cores {machine.cores}",
        "# HELP machine_memory_bytes Amount of memory installed on the machine.", "# TYPE machine_memory_bytes gauge",
        f"machine_memory_bytes {machine.memory}",
    ]  # fmt: skip
    for name, kind, about, field, unit in _FAMILIES:
        lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
        lines += (f"{name}{{{labels}}} {value / unit:.15g} {at}" for labels, value, at in _values(field, whole, pods))
    return "\n".join(lines) + "\n"


def _values(field: str, whole: NodeUsage, pods: Sequence[PodUsage]) -> Iterator[tuple[str, float, int]]:
    for pod in pods:
        where = f'namespace="{pod.namespace}",pod="{pod.name}"'
        value = getattr(pod.total, field, None) if field != "started" else pod.started
        if value is not None:
            yield f'container="",id="/kubepods/pod{pod.uid}",image="",name="",{where}', value, round(whole.time * 1000)
        for each in pod.containers if field != "started" else ():
            own = f'container="{each.name}",id="/kubepods/pod{pod.uid}/{each.container_id}",image="",'
            yield f'{own}name="{each.container_id}",{where}', getattr(each, field), round(each.time * 1000)
