"""What a node remembers of what its containers used."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.base.clock import VirtualClock
from tiphys.client.checkpoint import Checkpoint
from tiphys.kinds.core.pod import Pod
from tiphys.kubelet.runtime import ContainerUsage, RuntimeFault
from tiphys.kubelet.usage_history import Record, UsageHistory, decode, workload

DAY = 86_400.0
MIB = 1 << 20


def pod(name: str = "web-abc-1", owner: str = "", labels: dict[str, str] | None = None) -> Pod:
    kind, _, owned_by = owner.partition("/")
    owners = [{"apiVersion": "v1", "kind": kind, "name": owned_by, "uid": "u", "controller": True}] if owner else []
    meta = {"name": name, "namespace": "default", "uid": name, "ownerReferences": owners, "labels": labels or {}}
    return msgspec.convert({"metadata": meta, "spec": {"containers": [{"name": "c"}]}}, Pod)


@pytest.mark.parametrize(
    ("owner", "labels", "is_part_of"),
    [
        ("", {}, ("Pod", "web-abc-1")),
        ("Node/n1", {}, ("Pod", "web-abc-1")),
        ("ReplicaSet/web-abc", {"pod-template-hash": "abc"}, ("Deployment", "web")),
        ("ReplicaSet/web-abc", {}, ("ReplicaSet", "web-abc")),
        ("Job/backup-29925635", {}, ("CronJob", "backup")),
        ("Job/backup", {}, ("Job", "backup")),
        ("Kafka/one", {}, ("Kafka", "one")),
    ],
)
def test_a_pods_use_is_counted_for_what_it_is_part_of(owner, labels, is_part_of):
    assert workload(pod(owner=owner, labels=labels)) == is_part_of


@given(st.lists(st.floats(0.002, 64), min_size=1, max_size=50))
def test_a_quantile_is_as_exact_as_its_buckets_are_wide(samples: list[float]) -> None:
    record = Record("default", "Pod", "p", "c", first=0.0, last=0.0)
    for cores in samples:
        record.observe(0.0, cores, 0)
    exact = sorted(samples)[math.ceil(0.9 * len(samples)) - 1]
    found = record.cores(0.9)
    assert found is not None
    assert exact * 0.999 <= found <= exact * 1.051


def test_what_is_long_ago_counts_little_and_is_forgotten():
    record = Record("default", "Pod", "p", "c", first=0.0, last=0.0)
    for _ in range(100):
        record.observe(0.0, 4.0, 500 * MIB)
    for _ in range(20):
        record.observe(5 * DAY, 0.1, 50 * MIB)
    assert record.cores(0.8) == pytest.approx(0.1, rel=0.06)
    assert max(record.memory.values()) == 500 * MIB
    record.observe(9 * DAY, 0.1, 50 * MIB)
    assert max(record.memory.values()) == 50 * MIB


def test_what_several_nodes_saw_is_one_history():
    one = Record("default", "Pod", "p", "c", first=10.0, last=10.0)
    two = Record("default", "Pod", "p", "c", first=5.0, last=5.0)
    for _ in range(9):
        one.observe(10.0, 0.1, 10 * MIB)
    two.observe(5.0, 2.0, 20 * MIB)
    one.add(two)
    assert one.first == 5.0
    assert one.memory == {0: 20 * MIB}
    assert one.cores(0.85) == pytest.approx(0.1, rel=0.06)
    assert one.cores(1.0) == pytest.approx(2.0, rel=0.06)


class Node:
    """A runtime whose one container uses half a core; `fault` is what it answers instead."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock, self.fault = clock, False

    async def usage(self) -> list[ContainerUsage]:
        if self.fault:
            raise RuntimeFault("unavailable")
        now = self.clock.time()
        return [ContainerUsage("id", "u", "web-abc-1", "default", "c", now, round(now * 0.5e9), 30 * MIB)]

    def pod(self, namespace: str, name: str) -> Pod:
        return pod(name)


def history(clock: VirtualClock, node: Node, directory: Path) -> tuple[UsageHistory, Checkpoint]:
    checkpoint = Checkpoint(directory, clock, gather=600)
    return UsageHistory(node.usage, node.pod, checkpoint, clock), checkpoint


async def seen(kept: UsageHistory) -> list[Record]:
    """What is known once anything is: files are read in a thread."""
    async with asyncio.timeout(10):
        while not (found := decode(kept.encode())):
            await asyncio.sleep(0.001)
    return found


async def test_it_outlives_the_agent(tmp_path):
    clock = VirtualClock()
    node = Node(clock)
    kept, checkpoint = history(clock, node, tmp_path)
    tasks = [asyncio.create_task(kept.run()), asyncio.create_task(checkpoint.run())]
    await seen(kept)
    for _ in range(4):
        await clock.advance(60)
        node.fault = not node.fault
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    again, _ = history(clock, node, tmp_path)
    task = asyncio.create_task(again.run())
    found = await seen(again)
    task.cancel()
    assert [each.key for each in found] == [("default", "Pod", "web-abc-1", "c")]
    assert found[0].cores(0.9) == pytest.approx(0.5, rel=0.06)
    assert max(found[0].memory.values()) == 30 * MIB
