"""What the pods of this node use now: CPU and memory from their cgroups, what lies on disk from the runtime.

Asking the runtime costs ten times as much, most of it in the runtime, so it is asked for what only it knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tiphys.api.time import seconds
from tiphys.base.clock import Clock
from tiphys.kubelet.pods import Pods
from tiphys.kubelet.resources import qos_class
from tiphys.kubelet.runtime import Container, ContainerUsage, Runtime
from tiphys.kubelet.worker import PodWorker
from tiphys.node.cgroups import Cgroups, Usage, pod_path


@dataclass(frozen=True, slots=True)
class PodUsage:
    """`started` in seconds since 1970."""

    namespace: str
    name: str
    uid: str
    started: float
    total: Usage
    containers: Sequence[ContainerUsage]


class Gauge:
    """`cgroup_root` is empty where there are no cgroups: then the runtime tells everything."""

    def __init__(self, pods: Pods, runtime: Runtime, cgroup_root: str, clock: Clock) -> None:
        self._pods, self._runtime, self._clock = pods, runtime, clock
        self._groups = Cgroups(cgroup_root) if cgroup_root else None

    async def pods(self, *, disk: bool) -> list[PodUsage]:
        """Without `disk`, what containers have there is 0. Raises RuntimeFault, but not where cgroups tell enough."""
        told: dict[str, list[ContainerUsage]] = {}
        if disk or self._groups is None:
            for item in await self._runtime.usage():
                told.setdefault(item.uid, []).append(item)
        if self._groups is None:
            return [_by_runtime(worker, told.get(worker.uid, [])) for worker in self._pods]
        # What a worker knows belongs to the loop; files are read beside it.
        wanted = [(worker, list(worker.found.containers)) for worker in self._pods]
        groups = self._groups
        found = await asyncio.to_thread(
            lambda: [self._by_cgroups(groups, worker, [c for c in parts if c.running]) for worker, parts in wanted]
        )
        if not disk:
            return found
        on_disk = {item.container_id: item for items in told.values() for item in items}
        return [replace(pod, containers=[_with_disk(item, on_disk) for item in pod.containers]) for pod in found]

    async def containers(self) -> list[ContainerUsage]:
        """Of all pods; nothing of disks."""
        return [item for pod in await self.pods(disk=False) for item in pod.containers]

    def _by_cgroups(self, groups: Cgroups, worker: PodWorker, parts: Sequence[Container]) -> PodUsage:
        meta, path = worker.pod.metadata, pod_path(groups.root, qos_class(worker.pod), worker.uid)
        containers = []
        for part in parts:
            used = groups.usage(f"{path}/{part.id}")
            # A group without memory is gone, or not there yet.
            if used.memory:
                containers.append(ContainerUsage(
                    part.id, worker.uid, meta.name, meta.namespace, part.name, self._clock.time(),
                    used.cpu_ns, used.working_set, used.memory, used.rss, started=part.started_at,
                ))  # fmt: skip
        return PodUsage(meta.namespace, meta.name, worker.uid, _started(worker), groups.usage(path), containers)


def _by_runtime(worker: PodWorker, containers: Sequence[ContainerUsage]) -> PodUsage:
    meta = worker.pod.metadata
    total = Usage(sum(item.cpu_ns for item in containers), 0, sum(item.working_set for item in containers))
    return PodUsage(meta.namespace, meta.name, worker.uid, _started(worker), total, containers)


def _with_disk(item: ContainerUsage, told: dict[str, ContainerUsage]) -> ContainerUsage:
    same = told.get(item.container_id)
    return item if same is None else replace(item, disk=same.disk, inodes=same.inodes)


def _started(worker: PodWorker) -> float:
    start = worker.pod.status.start_time
    return seconds(start) if start else 0.0
