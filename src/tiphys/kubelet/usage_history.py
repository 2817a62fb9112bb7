"""What this node's containers used over the last days, and no more of it than recommended requests need.

Of CPU a histogram, in which a sample counts half after each day; of memory the most of each day. Kept by workload and
container, so that it outlives pods, and in a file, so that it outlives the agent. Served as /stats/history.
Source: https://github.com/kubernetes/autoscaler/blob/master/vertical-pod-autoscaler/docs/components.md (recommender)
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec

from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.client.checkpoint import Checkpoint
from tiphys.kinds.core.pod import Pod
from tiphys.kubelet.runtime import ContainerUsage, RuntimeFault

_log = Log("kubelet.usage")
_PERIOD = 60.0
# How much of it the end of a process may take with it.
SAVED_SECONDS = 600.0
_DAY = 86_400
_KEPT_DAYS = 8
# Records beyond that, seen longest ago, are forgotten: a node of CI jobs has a new name for each.
_MOST = 2000
# Buckets of CPU use: the first ends at a thousandth of a core, each further one 5 % higher.
_FIRST, _RATIO = 0.001, 1.05
_PART = "usage"
_CRON_JOB = re.compile(r"(.+)-\d{8}")


class Record(msgspec.Struct, rename="camel"):
    """Of one container of a workload. `cpu`: weights by bucket, as of `last`; `memory`: bytes by day since 1970."""

    namespace: str
    kind: str
    name: str
    container: str
    first: float
    last: float
    cpu: dict[int, float] = {}
    memory: dict[int, int] = {}

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.namespace, self.kind, self.name, self.container

    def observe(self, now: float, cores: float | None, memory: int) -> None:
        """`cores`: used on average since the sample before; None if there was none."""
        self._age(now)
        if cores is not None:
            bucket = 0 if cores <= _FIRST else math.ceil(math.log(cores / _FIRST, _RATIO))
            self.cpu[bucket] = self.cpu.get(bucket, 0.0) + 1.0
        day = int(now // _DAY)
        self.memory[day] = max(self.memory.get(day, 0), memory)

    def add(self, other: Record) -> None:
        """What was seen of the same workload elsewhere."""
        now = max(self.last, other.last)
        self._age(now)
        weight = _weight(now - other.last)
        for bucket, value in other.cpu.items():
            self.cpu[bucket] = self.cpu.get(bucket, 0.0) + value * weight
        for day, most in other.memory.items():
            self.memory[day] = max(self.memory.get(day, 0), most)
        self.first = min(self.first, other.first)

    def cores(self, share: float) -> float | None:
        """What CPU use did not exceed in this share of the (weighted) time; None if it was never measured."""
        rest = share * sum(self.cpu.values())
        for bucket in sorted(self.cpu):
            rest -= self.cpu[bucket]
            if rest <= 1e-9:
                return _FIRST * float(_RATIO**bucket)
        return None

    def _age(self, now: float) -> None:
        weight = _weight(now - self.last)
        # A sample that is worth a thousandth says nothing any more.
        self.cpu = {bucket: value * weight for bucket, value in self.cpu.items() if value * weight > 1e-3}
        self.memory = {day: most for day, most in self.memory.items() if day > now // _DAY - _KEPT_DAYS}
        self.last = max(now, self.last)


def _weight(age: float) -> float:
    return float(0.5 ** (max(age, 0.0) / _DAY))


def workload(pod: Pod) -> tuple[str, str]:
    """Kind and name of what the pod is part of: a Deployment, not its ReplicaSet; a CronJob, not its Job."""
    owner = pod.metadata.controller
    if owner is None or owner.kind == "Node":
        return "Pod", pod.metadata.name
    ending = "-" + pod.metadata.labels.get("pod-template-hash", "")
    if owner.kind == "ReplicaSet" and len(ending) > 1 and owner.name.endswith(ending):
        return "Deployment", owner.name.removesuffix(ending)
    timed = _CRON_JOB.fullmatch(owner.name) if owner.kind == "Job" else None
    return ("CronJob", timed[1]) if timed is not None else (owner.kind, owner.name)


class UsageHistory:
    """Run `run()` under a supervisor. `pod` finds a pod of this node by namespace and name."""

    def __init__(
        self, usage: Callable[[], Awaitable[Sequence[ContainerUsage]]], pod: Callable[[str, str], Pod | None],
        checkpoint: Checkpoint, clock: Clock,
    ) -> None:  # fmt: skip
        self._usage, self._pod, self._checkpoint, self._clock = usage, pod, checkpoint, clock
        self._records: dict[tuple[str, str, str, str], Record] = {}
        self._counted: dict[str, tuple[float, int]] = {}

    def encode(self) -> bytes:
        return msgspec.json.encode(list(self._records.values()))

    async def run(self) -> None:
        self._restore(await self._checkpoint.load(_PART))
        while True:
            try:
                self.observe(await self._usage())
            except RuntimeFault as fault:
                _log.warning("cannot measure what containers use", error=str(fault))
            self._checkpoint.changed(_PART, self.encode)
            await self._clock.sleep(_PERIOD)

    def _restore(self, body: bytes) -> None:
        try:
            found = decode(body) if body else []
        except msgspec.MsgspecError as error:
            _log.warning("what containers used before is not readable; it begins anew", error=str(error))
            return
        self._records = {record.key: record for record in found}

    def observe(self, found: Iterable[ContainerUsage]) -> None:
        """Count what the containers of this node use now."""
        now, before = self._clock.time(), self._counted
        self._counted = {}
        for item in found:
            self._counted[item.container_id] = (item.time, item.cpu_ns)
            pod = self._pod(item.namespace, item.pod)
            if pod is not None:
                key = (item.namespace, *workload(pod), item.name)
                record = self._records.setdefault(key, Record(*key, first=now, last=now))
                record.observe(now, _cores(before.get(item.container_id), item), item.working_set)
        oldest = now - _KEPT_DAYS * _DAY
        kept = sorted((each for each in self._records.values() if each.last > oldest), key=lambda each: -each.last)
        self._records = {record.key: record for record in kept[:_MOST]}


def decode(body: bytes) -> list[Record]:
    """What /stats/history says. Raises msgspec.MsgspecError."""
    return msgspec.json.decode(body, type=list[Record])


def _cores(before: tuple[float, int] | None, item: ContainerUsage) -> float | None:
    if before is None or item.time <= before[0] or item.cpu_ns < before[1]:
        return None
    return (item.cpu_ns - before[1]) / 1e9 / (item.time - before[0])
