"""What simulated nodes and pods say that they use: /stats/summary of a kubelet that has no machine.

Nothing is worked out, and nothing kept, while nobody asks: a counter of CPU time goes on from one question to the next
as fast as the container's use is at the later one.
"""

from __future__ import annotations

from collections.abc import Sequence

from tiphys.api.quantity import parse
from tiphys.api.resource import Json
from tiphys.api.time import seconds
from tiphys.base.clock import Clock
from tiphys.kubelet.agent import Kubelet
from tiphys.kubelet.behaviour import Behaviours, used
from tiphys.kubelet.runtime import Container, ContainerUsage
from tiphys.kubelet.server.stats import NodeUsage, summary
from tiphys.kubelet.usage import PodUsage
from tiphys.kubelet.worker import PodWorker
from tiphys.node.cgroups import Usage


class SimulatedUse:
    """Of one node."""

    def __init__(self, kubelet: Kubelet, behaviours: Behaviours, clock: Clock) -> None:
        self._kubelet, self._behaviours, self._clock = kubelet, behaviours, clock
        # By container id: when it was last asked for (unix seconds), and the CPU time until then, in nanoseconds.
        self._counted: dict[str, tuple[float, float]] = {}
        self._total: tuple[float, float] = (clock.time(), 0.0)

    def summary(self) -> Json:
        """upstream's stats.Summary."""
        now, before = self._clock.time(), self._counted
        self._counted = {}
        pods = [self._pod(worker, before, now) for worker in self._kubelet.pods]
        rate = sum(self._rate(item, before) for pod in pods for item in pod.containers)
        self._total = (now, self._total[1] + rate)
        memory = sum(pod.total.working_set for pod in pods)
        capacity = parse(self._kubelet.config.capacity.get("memory", "0")).value()
        whole = NodeUsage(now, round(self._total[1]), memory, max(capacity - memory, 0))
        return summary(self._kubelet.config.node_name, whole, pods, disk=False)

    def _rate(self, item: ContainerUsage, before: dict[str, tuple[float, float]]) -> float:
        """The CPU time since the node was last asked."""
        return item.cpu_ns - before[item.container_id][1] if item.container_id in before else item.cpu_ns

    def _pod(self, worker: PodWorker, before: dict[str, tuple[float, float]], now: float) -> PodUsage:
        meta = worker.pod.metadata
        parts = [self._container(worker, part, before, now) for part in worker.found.containers if part.running]
        total = Usage(sum(part.cpu_ns for part in parts), 0, sum(part.working_set for part in parts))
        started = seconds(worker.pod.status.start_time) if worker.pod.status.start_time else 0.0
        return PodUsage(meta.namespace, meta.name, worker.uid, started, total, _sorted(parts))

    def _container(
        self, worker: PodWorker, part: Container, before: dict[str, tuple[float, float]], now: float
    ) -> ContainerUsage:  # fmt: skip
        cores, memory = used(self._behaviours, worker.pod, now - part.started_at)
        then, counted = before.get(part.id, (part.started_at, 0.0))
        counted += cores * 1e9 * max(now - then, 0.0)
        self._counted[part.id] = (now, counted)
        return ContainerUsage(
            part.id, worker.uid, worker.pod.metadata.name, worker.pod.metadata.namespace, part.name, now,
            round(counted), round(memory), round(memory),
        )  # fmt: skip


def _sorted(parts: Sequence[ContainerUsage]) -> list[ContainerUsage]:
    return sorted(parts, key=lambda part: part.name)
