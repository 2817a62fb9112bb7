"""Dominant resource fairness: whoever has least comes next, so shares draw level, weights hold, and nobody starves."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tiphys.base.clock import VirtualClock
from tiphys.client.timers import Timers
from tiphys.kinds.core.node import Node
from tiphys.kinds.core.pod import Pod
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.fairness import LABEL, Fairness, FairSort, Shares
from tiphys.scheduler.pipeline import Unschedulable, choose
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.queue import SchedulingQueue

QUEUES = ("a", "b", "c")
CPUS, MEMORIES = st.sampled_from(["100m", "1", "3"]), st.sampled_from(["128Mi", "1Gi", "4Gi"])
WEIGHTS = st.fixed_dictionaries({}, optional=dict.fromkeys(QUEUES, st.sampled_from([0.5, 2.0, 3.0])))


def node(name: str, cpu: str = "16", memory: str = "32Gi") -> Node:
    room = {"cpu": cpu, "memory": memory, "pods": "110"}
    return msgspec.convert({"metadata": {"name": name}, "spec": {}, "status": {"allocatable": room}}, Node)


def pod(name: str, queue: str, cpu: str, memory: str, **more: Any) -> PodInfo:
    containers = [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]
    labels = more.pop("labels", {})
    made = {
        "metadata": {"name": name, "namespace": queue, "uid": name, "labels": labels},
        "spec": {"containers": containers, **more},
    }
    return PodInfo(msgspec.convert(made, Pod))


class Fair:
    """A queue and the model of a cluster, without a server."""

    def __init__(self, weights: dict[str, float], nodes: int = 4) -> None:
        self.cluster = Cluster()
        clock = VirtualClock()
        self.queue = SchedulingQueue(clock, Timers(clock), FairSort(Fairness(weights), self.cluster))
        self.shares = self.cluster.view(Shares)
        for number in range(nodes):
            self.cluster.set_node(node(f"n{number}"))

    def next(self) -> PodInfo | None:
        found = self.queue._sorted.pop()
        while found is not None:
            known = self.queue._ready.pop(found[1], None)
            if known is not None and isinstance(known[1], PodInfo):
                return known[1]
            found = self.queue._sorted.pop()
        return None

    def weighted(self, queue: str) -> float:
        return self.shares.weighted(queue, self.cluster)

    def place(self, info: PodInfo) -> bool:
        found = choose(info, self.cluster)
        return not isinstance(found, Unschedulable) and self.cluster.place(info, self.cluster.name(found))


@settings(max_examples=60, deadline=None)
@given(weights=WEIGHTS, cpus=st.tuples(CPUS, CPUS, CPUS), memories=st.tuples(MEMORIES, MEMORIES, MEMORIES))
def test_with_endless_pods_the_weighted_shares_draw_level(
    weights: dict[str, float], cpus: tuple[str, ...], memories: tuple[str, ...]
) -> None:
    fair = Fair(weights)
    shapes = dict(zip(QUEUES, zip(cpus, memories, strict=True), strict=True))
    # The most that one pod adds.
    step = {}
    for queue, (cpu, memory) in shapes.items():
        one = pod("one", queue, cpu, memory)
        fair.place(one)
        step[queue] = fair.weighted(queue)
        fair.cluster.remove_pod(one.key)
        # More than the nodes have places for.
        for number in range(500):
            fair.queue.add(pod(f"p{number}", queue, cpu, memory))
    while (info := fair.next()) is not None and fair.place(info):
        levels = {queue: fair.weighted(queue) for queue in QUEUES}
        low = min(levels.values())
        assert all(level - low <= step[queue] + 1e-9 for queue, level in levels.items())
    assert all(fair.weighted(queue) > 0 for queue in QUEUES)


class Machine(RuleBasedStateMachine):
    """Pods come, end and are placed, nodes come and go: whoever is next has the least of the highest priority."""

    def __init__(self) -> None:
        super().__init__()
        self.ready: dict[str, PodInfo] = {}
        self.placed: list[PodInfo] = []
        self.made = 0

    @initialize(weights=WEIGHTS)
    def start(self, weights: dict[str, float]) -> None:
        self.fair = Fair(weights)

    @rule(queue=st.sampled_from(QUEUES), cpu=CPUS, memory=MEMORIES, priority=st.sampled_from([0, 0, 7]))
    def add(self, queue: str, cpu: str, memory: str, priority: int) -> None:
        self.made += 1
        info = pod(f"p{self.made}", queue, cpu, memory, priority=priority)
        self.ready[info.key] = info
        self.fair.queue.add(info)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.ready:
            key = data.draw(st.sampled_from(sorted(self.ready)))
            del self.ready[key]
            self.fair.queue.remove(key)

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        if self.placed:
            info = self.placed.pop(data.draw(st.integers(0, len(self.placed) - 1)))
            self.fair.cluster.remove_pod(info.key)

    @rule(cpu=st.sampled_from(["4", "16", "64"]))
    def resize(self, cpu: str) -> None:
        self.fair.cluster.set_node(node("n0", cpu))

    @rule()
    def schedule(self) -> None:
        info = self.fair.next()
        if info is None:
            assert not self.ready
            return
        top = max(each.priority for each in self.ready.values())
        rivals = {each.pod.metadata.namespace for each in self.ready.values() if each.priority == top}
        assert info.priority == top
        assert self.fair.weighted(info.pod.metadata.namespace) == min(map(self.fair.weighted, rivals))
        mine = [each for each in self.ready.values() if each.priority == top]
        first = next(each for each in mine if each.pod.metadata.namespace == info.pod.metadata.namespace)
        assert first is info
        del self.ready[info.key]
        if self.fair.place(info):
            self.placed.append(info)


TestFairness = Machine.TestCase
TestFairness.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)


def test_a_label_counts_only_if_the_queue_has_a_weight() -> None:
    fair = Fair({"batch": 2.0})
    listed = pod("p", "team", "1", "1Gi", labels={LABEL: "batch"})
    invented = pod("q", "team", "1", "1Gi", labels={LABEL: "mine"})
    assert [fair.shares.queue_of(each) for each in (listed, invented)] == ["batch", "team"]


async def test_the_queue_gives_out_pods_in_turn() -> None:
    fair = Fair({}, nodes=1)
    for number in range(3):
        fair.queue.add(pod(f"p{number}", "a", "1", "1Gi"))
    fair.queue.add(pod("q", "b", "1", "1Gi"))
    order = []
    for _ in range(4):
        info = await asyncio.wait_for(fair.queue.pop(), 5)
        assert isinstance(info, PodInfo)
        order.append(info.key)
        fair.place(info)
    assert order == ["a/p0", "b/q", "a/p1", "a/p2"]
