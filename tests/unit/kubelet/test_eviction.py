"""Who is refused, and who goes first when the node runs short."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tiphys.kinds.core.pod import Pod
from tiphys.kubelet.admission import admit
from tiphys.kubelet.eviction import Candidate, choose, evicted

ALLOCATABLE = {"cpu": "2", "memory": "4Gi", "pods": "3"}
MEBI = 1 << 20
PORT = [{"containerPort": 80, "hostPort": 80}]


def pod(name: str = "p", priority: int = 0, ports: list[dict[str, Any]] | None = None, **requests: str) -> Pod:
    container = {"name": "a", "resources": {"requests": requests}, "ports": ports or []}
    spec = {"containers": [container], "priority": priority}
    return msgspec.convert({"metadata": {"name": name}, "spec": spec}, Pod)


@pytest.mark.parametrize(
    ("wanted", "present", "reason"),
    [
        (pod(cpu="1"), [pod(cpu="1")], None),
        (pod(cpu="1500m"), [pod(cpu="1")], "OutOfcpu"),
        (pod(memory="5Gi"), [], "OutOfmemory"),
        (pod(), [pod(cpu="2")], None),
        (pod(), [pod()] * 3, "OutOfpods"),
        (pod(ports=PORT), [pod(ports=PORT)], "NodePorts"),
    ],
)
def test_a_pod_without_room_is_refused(wanted: Pod, present: list[Pod], reason: str | None) -> None:
    end = admit(wanted, present, ALLOCATABLE, {})
    assert (end.reason if end else None) == reason


def test_the_message_is_upstreams() -> None:
    end = admit(pod(cpu="1500m"), [pod(cpu="1")], ALLOCATABLE, {})
    assert end is not None
    assert end.message == "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000"


def test_over_its_request_then_low_priority_then_furthest_over() -> None:
    within = Candidate(pod("within", memory="100Mi"), 90 * MEBI)
    low = Candidate(pod("low", memory="10Mi"), 20 * MEBI)
    greedy = Candidate(pod("greedy", memory="10Mi"), 30 * MEBI)
    important = Candidate(pod("important", 1000), 500 * MEBI)
    system = Candidate(pod("system", 2_000_000_000), 900 * MEBI)
    everyone = [within, low, greedy, important, system]
    order = []
    while (chosen := choose(everyone, "memory")) is not None:
        order.append(chosen.pod.metadata.name)
        everyone.remove(chosen)
    assert order == ["greedy", "low", "important", "within"]
    assert "low on resource: memory" in evicted(greedy, "memory").message
