"""A machine that goes down: the node says so, and pods end by priority within their time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulation import Simulation, simulation

from tiphys.api.meta import ObjectMeta
from tiphys.base.clock import VirtualClock
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.pod import PODS, Pod
from tiphys.kinds.core.podspec import PodSpec
from tiphys.kubelet import shutdown
from tiphys.kubelet.behaviour import Behaviour
from tiphys.kubelet.config import KubeletConfig
from tiphys.kubelet.fake import FakeRuntime
from tiphys.kubelet.shutdown import Band

CONFIG = KubeletConfig("n1", Path(), Path(), Path(), [])
CRITICAL = 2_000_000_000


def pod(priority: int, grace: int = 30) -> Pod:
    return Pod(metadata=ObjectMeta(name="p"), spec=PodSpec(priority=priority, termination_grace_period_seconds=grace))


def test_critical_pods_have_their_part_of_the_whole_time() -> None:
    assert shutdown.bands(CONFIG) == [Band(0, 20), Band(CRITICAL, 10)]
    assert shutdown.bands(replace(CONFIG, shutdown_grace_period=5.0)) == [Band(0, 0), Band(CRITICAL, 5)]


def test_times_by_priority_take_the_place_of_the_two() -> None:
    config = replace(CONFIG, shutdown_grace_period_by_pod_priority=[(1000, 5.0), (-10, 60.0), (0, 20.0)])
    ordered = shutdown.bands(config)
    assert ordered == [Band(-10, 60), Band(0, 20), Band(1000, 5)]
    found = [shutdown.band_of(pod(priority), ordered).priority for priority in (-50, -10, 0, 999, 1000, CRITICAL)]
    assert found == [-10, -10, 0, 0, 1000, 1000]


def test_a_pod_has_no_more_than_its_own_grace() -> None:
    assert shutdown.ending(pod(0, grace=5), Band(0, 20)).grace == 5
    assert shutdown.ending(pod(0, grace=60), Band(0, 20)).grace == 20


async def make(kube: Simulation, name: str, **spec: Any) -> None:
    await kube.create({"containers": [{"name": "main", "image": "app:1"}], **spec}, name=name)


async def found(kube: Simulation, name: str) -> dict[str, Any]:
    status: dict[str, Any] = (await kube.client.of(PODS).get_json(name, "default"))["status"]
    return status


async def ready(kube: Simulation) -> tuple[str, str]:
    condition = (await kube.client.of(NODES).get("n1")).condition("Ready")
    assert condition is not None
    return condition.status, condition.message


async def test_pods_end_in_order_and_say_why() -> None:
    runtime = FakeRuntime(VirtualClock(), behave=lambda spec, sandbox: Behaviour(ignores_term=True))
    async with simulation(runtime) as kube:
        await make(kube, "plain", terminationGracePeriodSeconds=3)
        await make(kube, "critical", terminationGracePeriodSeconds=3, priorityClassName="system-node-critical")
        going = asyncio.create_task(kube.kubelet.shut_down())
        await kube.settle()
        assert await ready(kube) == ("False", "node is shutting down")
        await kube.after(2)
        assert (await found(kube, "plain"))["phase"] == "Running"
        await kube.after(1.5)
        plain = await found(kube, "plain")
        assert (plain["phase"], plain["reason"]) == ("Failed", "Terminated")
        assert plain["message"] == "Pod was terminated in response to imminent node shutdown."
        disruption = next(item for item in plain["conditions"] if item["type"] == "DisruptionTarget")
        assert (disruption["status"], disruption["reason"]) == ("True", "TerminationByKubelet")
        assert (await found(kube, "critical"))["phase"] == "Running"
        assert not going.done()
        await kube.after(3.5)
        assert (await found(kube, "critical"))["reason"] == "Terminated"
        await going


async def test_no_pod_is_taken_any_more() -> None:
    async with simulation() as kube:
        await kube.kubelet.shut_down()
        await make(kube, "late")
        status = await found(kube, "late")
        assert (status["phase"], status["reason"]) == ("Failed", "NodeShutdown")


async def test_what_does_not_end_does_not_hold_up_the_others() -> None:
    class Stuck(FakeRuntime):
        async def stop_container(self, container_id: str, grace: float) -> None:
            await asyncio.Event().wait()

    async with simulation(Stuck(VirtualClock())) as kube:
        await make(kube, "stubborn", terminationGracePeriodSeconds=100)
        going = asyncio.create_task(kube.kubelet.shut_down())
        await kube.after(19)
        assert not going.done()
        await kube.after(2)
        assert going.done()
