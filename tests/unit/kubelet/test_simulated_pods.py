"""Pods on a simulated node, in virtual time, as the API shows them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from simulation import Simulation, simulation

from tiphys.base.clock import VirtualClock
from tiphys.kinds.core.configmap import CONFIG_MAPS
from tiphys.kinds.core.pod import PODS, Pod
from tiphys.kubelet.agent import Hooks
from tiphys.kubelet.behaviour import Behaviour, Behaviours
from tiphys.kubelet.fake import FakeRuntime
from tiphys.kubelet.pod_host import NoHost
from tiphys.kubelet.volumes.setup import Inputs, VolumeError


def spec(**more: Any) -> dict[str, Any]:
    return {"containers": [{"name": "main", "image": "app:1"}], **more}


def running(container: dict[str, Any]) -> bool:
    return "running" in container["state"]


async def test_the_node_registers_and_is_ready() -> None:
    from tiphys.kinds.core.node import NODES

    async with simulation() as kube:
        node = await kube.client.of(NODES).get("n1")
        assert {c.type: c.status for c in node.status.conditions}["Ready"] == "True"
        assert node.metadata.labels["kubernetes.io/hostname"] == "n1"
        assert node.status.capacity["pods"] == "110"


async def test_a_node_that_was_given_up_tells_at_once_that_it_lives() -> None:
    from tiphys.kinds.core.node import NODES

    async with simulation() as kube:
        await kube.after(20)
        nodes = kube.client.of(NODES)
        lost = {"status": {"conditions": [{"type": kind, "status": "Unknown"} for kind in ("Ready", "DiskPressure")]}}
        await nodes.patch((await nodes.get("n1")).metadata, lost, kind="strategic", subresource="status")
        await kube.settle()
        held = {c.type: c.status for c in (await nodes.get("n1")).status.conditions}
        assert (held["Ready"], held["DiskPressure"]) == ("True", "False")


async def test_a_pod_becomes_running_and_ready() -> None:
    async with simulation() as kube:
        await kube.create(spec())
        status = await kube.status()
        assert status["phase"] == "Running"
        assert {c["type"]: c["status"] for c in status["conditions"]} == dict.fromkeys(
            ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"), "True"
        )
        assert status["hostIP"] == "192.0.2.1"
        assert status["podIP"]
        assert {"Pulled", "Created", "Started"} <= set(await kube.reasons())


async def test_no_container_starts_before_the_network_policies_hold_for_its_pod() -> None:
    asked: list[Sequence[str]] = []
    hold = asyncio.Event()

    async def isolate(pod: Pod, addresses: Sequence[str]) -> None:
        asked.append(addresses)
        await hold.wait()

    async with simulation(hooks=Hooks(isolate=isolate)) as kube:
        await kube.create(spec())
        (addresses,) = asked
        assert addresses
        assert not running(await kube.container())
        hold.set()
        await kube.settle()
        assert running(await kube.container())
        assert (await kube.status())["podIP"] == addresses[0]


async def test_what_happens_while_a_container_starts_does_not_disturb_it() -> None:
    async with simulation(FakeRuntime(VirtualClock(), behaviours=Behaviours(start_delay=1.0))) as kube:
        kube.runtime._clock = kube.clock
        await kube.create(spec())
        await kube.after(1.0)
        pods = kube.client.of(PODS)
        await pods.patch((await pods.get("p", "default")).metadata, {"metadata": {"labels": {"seen": "yes"}}})
        await kube.settle()
        await kube.after(1.0)
        assert running(await kube.container())
        assert "Failed" not in await kube.reasons()


async def test_a_job_like_pod_succeeds_or_fails() -> None:
    for code, phase in ((0, "Succeeded"), (2, "Failed")):
        async with simulation() as kube:
            notes = {"tiphys.io/exit-after": "5", "tiphys.io/exit-code": str(code)}
            await kube.create(spec(restartPolicy="Never"), annotations=notes)
            assert (await kube.status())["phase"] == "Running"
            await kube.after(5)
            status = await kube.status()
            assert status["phase"] == phase
            assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == code


async def test_restarts_are_immediate_first_and_then_back_off() -> None:
    async with simulation() as kube:
        await kube.create(spec())
        for attempt, wait in ((1, 0.0), (2, 10.0), (3, 20.0), (4, 40.0)):
            kube.runtime.exit((await kube.container())["containerID"].partition("//")[2], 1)
            await kube.settle()
            if wait:
                waiting = (await kube.container())["state"]["waiting"]
                assert waiting["reason"] == "CrashLoopBackOff"
                assert f"back-off {int(wait)}s restarting failed container=main" in waiting["message"]
                await kube.after(wait - 0.5)
                assert not running(await kube.container())
                await kube.after(0.6)
            container = await kube.container()
            assert running(container)
            assert container["restartCount"] == attempt
            assert container["lastState"]["terminated"]["exitCode"] == 1


async def test_a_long_run_resets_the_back_off() -> None:
    async with simulation() as kube:
        await kube.create(spec())
        for _ in range(2):
            kube.runtime.exit((await kube.container())["containerID"].partition("//")[2], 1)
            await kube.after(11)
        await kube.after(700)
        kube.runtime.exit((await kube.container())["containerID"].partition("//")[2], 1)
        await kube.settle()
        assert running(await kube.container())


async def test_deletion_waits_for_the_grace_period_and_a_forced_one_does_not() -> None:
    clock = VirtualClock()
    runtime = FakeRuntime(clock, behave=lambda _, __: Behaviour(ignores_term=True))
    async with simulation(runtime) as kube:
        await kube.create(spec(terminationGracePeriodSeconds=30))
        await kube.delete()
        await kube.after(29)
        assert await kube.exists()
        await kube.after(2)
        assert not await kube.exists()


async def test_a_missing_image_is_told_and_tried_again() -> None:
    async with simulation() as kube:
        kube.runtime.without_image("app:1")
        await kube.create(spec())
        assert (await kube.container())["state"]["waiting"]["reason"] == "ErrImagePull"
        await kube.after(2)
        assert (await kube.container())["state"]["waiting"]["reason"] == "ImagePullBackOff"
        kube.runtime._missing.clear()
        await kube.after(12)
        assert running(await kube.container())


async def test_init_containers_go_one_by_one_and_a_failure_is_tried_again() -> None:
    async with simulation() as kube:
        init = [{"name": "one", "image": "app:1"}, {"name": "two", "image": "app:1"}]
        await kube.create(spec(initContainers=init))

        async def end(position: int, code: int) -> None:
            found = await kube.container(position, "initContainerStatuses")
            kube.runtime.exit(found["containerID"].partition("//")[2], code)
            await kube.settle()

        assert running(await kube.container(0, "initContainerStatuses"))
        assert "containerID" not in await kube.container(1, "initContainerStatuses")
        await end(0, 1)
        assert running(await kube.container(0, "initContainerStatuses"))
        await end(0, 0)
        assert running(await kube.container(1, "initContainerStatuses"))
        assert (await kube.container())["state"]["waiting"]["reason"] == "PodInitializing"
        await end(1, 0)
        assert running(await kube.container())


async def test_a_failed_init_container_fails_a_pod_that_never_restarts() -> None:
    async with simulation() as kube:
        init = [{"name": "one", "image": "app:1"}]
        await kube.create(spec(initContainers=init, restartPolicy="Never"))
        found = await kube.container(0, "initContainerStatuses")
        kube.runtime.exit(found["containerID"].partition("//")[2], 1)
        await kube.settle()
        status = await kube.status()
        assert status["phase"] == "Failed"
        assert {c["type"]: c["status"] for c in status["conditions"]}["Initialized"] == "False"


async def test_a_pod_past_its_deadline_fails() -> None:
    async with simulation() as kube:
        await kube.create(spec(activeDeadlineSeconds=60))
        await kube.after(61)
        status = await kube.status()
        assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")
        assert not running(await kube.container())


async def test_a_missing_configmap_holds_the_container_until_it_is_made() -> None:
    async with simulation() as kube:
        ref = {"configMapKeyRef": {"name": "conf", "key": "k"}}
        container = {"name": "main", "image": "app:1", "env": [{"name": "A", "valueFrom": ref}]}
        await kube.create({"containers": [container]})
        waiting = (await kube.container())["state"]["waiting"]
        assert (waiting["reason"], waiting["message"]) == ("CreateContainerConfigError", 'configmap "conf" not found')
        meta = {"name": "conf", "namespace": "default"}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"k": "v"}}
        await kube.client.of(CONFIG_MAPS).create(body)
        await kube.settle()
        assert running(await kube.container())
        assert ("A", "v") in kube.runtime.specs["main"].env


class SlowHost(NoHost):
    """Looks for the ConfigMap `conf`, and takes long to say that it was missing."""

    def __init__(self) -> None:
        self.looked, self.go = asyncio.Event(), asyncio.Event()

    async def volumes(self, pod: Pod, inputs: Inputs) -> Mapping[str, str]:
        missing = inputs.lookup("configmap", "conf") is None
        self.looked.set()
        await self.go.wait()
        if missing:
            raise VolumeError('MountVolume.SetUp failed for volume "x" : configmap "conf" not found')
        return {"x": "/simulated/x"}


async def test_what_is_made_while_a_volume_fails_starts_the_pod_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    host = SlowHost()
    monkeypatch.setattr("tiphys.kubelet.agent.NoHost", lambda: host)
    async with simulation() as kube:
        container = {"name": "main", "image": "app:1", "volumeMounts": [{"name": "x", "mountPath": "/x"}]}
        await kube.create({"containers": [container], "volumes": [{"name": "x", "configMap": {"name": "conf"}}]})
        await host.looked.wait()
        meta = {"name": "conf", "namespace": "default"}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"k": "v"}}
        await kube.client.of(CONFIG_MAPS).create(body)
        await kube.settle()
        host.go.set()
        await kube.settle()
        assert running(await kube.container())
        assert "FailedMount" in await kube.reasons()


async def test_readiness_gates_hold_the_pod_back() -> None:
    async with simulation() as kube:
        await kube.create(spec(readinessGates=[{"conditionType": "example.com/on"}]))
        assert _ready(await kube.status()) == "False"
        await _set_condition(kube, "example.com/on")
        assert _ready(await kube.status()) == "True"


def _ready(status: dict[str, Any]) -> str:
    return str({c["type"]: c["status"] for c in status["conditions"]}["Ready"])


async def _set_condition(kube: Simulation, name: str) -> None:
    from tiphys.kinds.core.pod import PODS

    pods = kube.client.of(PODS)
    patch = {"status": {"conditions": [{"type": name, "status": "True"}]}}
    await pods.patch((await pods.get("p", "default")).metadata, patch, kind="strategic", subresource="status")
    await kube.settle()


async def test_a_pod_removed_by_force_is_cleaned_up() -> None:
    async with simulation() as kube:
        await kube.create(spec())
        await kube.delete(grace=0)
        await kube.after(31)
        assert not await kube.exists()
        assert await kube.runtime.pods() == {}
