"""What every `Runtime` keeps to: the fake one, and the real one where this machine can."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tiphys.base.clock import SystemClock
from tiphys.kubelet.behaviour import Behaviour
from tiphys.kubelet.fake import FakeRuntime
from tiphys.kubelet.runtime import (
    CONTAINER_NAME,
    POD_NAME,
    POD_NAMESPACE,
    POD_UID,
    ContainerSpec,
    Gone,
    PodRuntime,
    Runtime,
    SandboxSpec,
    State,
)

sys.path.insert(0, str(Path(__file__).parent.parent / "e2e"))
IMAGE = "busybox:1"
# Events are not kept for who subscribes later: what is to be seen must not happen before the test looks.
_LATER = "sleep 0.5"


@dataclass
class Subject:
    runtime: Runtime
    logs: Path
    cgroup: str

    def sandbox(self, uid: str, attempt: int = 0) -> SandboxSpec:
        directory = self.logs / uid
        directory.mkdir(exist_ok=True, parents=True)
        labels = {POD_UID: uid, POD_NAME: uid, POD_NAMESPACE: "default"}
        return SandboxSpec(uid, "default", uid, attempt, uid, str(directory), f"{self.cgroup}/pod{uid}", labels=labels)

    def container(self, uid: str, script: str, attempt: int = 0) -> ContainerSpec:
        labels = {POD_UID: uid, CONTAINER_NAME: "main", POD_NAME: uid, POD_NAMESPACE: "default"}
        return ContainerSpec("main", attempt, IMAGE, ("sh", "-c", script), labels=labels, log_path=f"{attempt}.log")

    async def run(self, uid: str, script: str) -> tuple[str, str]:
        sandbox = self.sandbox(uid)
        made = await self.runtime.run_sandbox(sandbox)
        container = await self.runtime.create_container(made, self.container(uid, script), sandbox)
        await self.runtime.start_container(container)
        return made, container

    async def until(self, uid: str, wanted: Callable[[PodRuntime], bool]) -> PodRuntime:
        """Observe at each event until it is as wanted."""
        async with asyncio.timeout(30):
            async for event in self.runtime.events():
                if event.uid in ("", uid) and wanted(found := await self.runtime.observe(uid)):
                    return found
        raise AssertionError("the events ended")


def _behave(spec: ContainerSpec, sandbox: SandboxSpec) -> Behaviour:
    """The fake's understanding of the few scripts below."""
    script = spec.command[-1]
    return Behaviour(0.5, int(script.rpartition("exit ")[2])) if "exit " in script else Behaviour()


@pytest.fixture(params=["fake", "containerd"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    if request.param == "fake":
        yield Subject(FakeRuntime(SystemClock(), behave=_behave), tmp_path, "/none")
        return
    if os.geteuid() != 0:
        pytest.skip("containerd needs root")
    from runtime_fixture import machine

    from tiphys.kubelet.cri_runtime import CriRuntime

    async with machine(tmp_path) as host:
        runtime = CriRuntime(host.containerd.endpoint)
        yield Subject(runtime, tmp_path / "logs", host.cgroups.root)
        runtime.close()


async def test_a_container_runs_and_is_observed(subject: Subject) -> None:
    sandbox, container = await subject.run("a", "exec sleep 1000")
    found = await subject.runtime.observe("a")
    assert found.sandbox is not None
    assert (found.sandbox.id, found.sandbox.ready, found.sandbox.uid) == (sandbox, True, "a")
    assert found.sandbox.ips
    latest = found.latest("main")
    assert latest is not None
    assert (latest.id, latest.state, latest.sandbox_id, latest.attempt) == (container, State.RUNNING, sandbox, 0)
    assert latest.started_at > 0
    assert (await subject.runtime.pods()).keys() == {"a"}
    assert await subject.runtime.observe("b") == PodRuntime()


async def test_an_end_is_an_event_and_observed_by_then(subject: Subject) -> None:
    await subject.run("a", f"{_LATER}; exit 3")
    found = await subject.until("a", lambda pod: any(item.exited for item in pod.containers))
    latest = found.latest("main")
    assert latest is not None
    assert (latest.exit_code, latest.reason) == (3, "Error")
    assert latest.finished_at >= latest.started_at


async def test_stopping_ends_and_may_be_repeated(subject: Subject) -> None:
    sandbox, container = await subject.run("a", "exec sleep 1000")
    await subject.runtime.stop_container(container, 0)
    found = await subject.runtime.observe("a")
    assert [item.exit_code for item in found.containers] == [137]
    await subject.runtime.stop_container(container, 0)
    await subject.runtime.stop_sandbox(sandbox)
    await subject.runtime.stop_sandbox(sandbox)
    found = await subject.runtime.observe("a")
    assert found.sandbox is not None
    assert not found.sandbox.ready
    assert not found.sandbox.ips


async def test_the_newest_comes_first(subject: Subject) -> None:
    sandbox, first = await subject.run("a", f"{_LATER}; exit 0")
    await subject.until("a", lambda pod: any(item.exited for item in pod.containers))
    spec = subject.container("a", "exec sleep 1000", attempt=1)
    second = await subject.runtime.create_container(sandbox, spec, subject.sandbox("a"))
    found = await subject.runtime.observe("a")
    assert [item.id for item in found.containers] == [second, first]
    assert found.containers[0].state is State.CREATED


async def test_removing_leaves_nothing(subject: Subject) -> None:
    sandbox, container = await subject.run("a", "exec sleep 1000")
    await subject.runtime.stop_sandbox(sandbox)
    await subject.runtime.remove_container(container)
    await subject.runtime.remove_sandbox(sandbox)
    assert await subject.runtime.observe("a") == PodRuntime()
    assert await subject.runtime.pods() == {}


async def test_what_is_not_there_is_gone(subject: Subject) -> None:
    with pytest.raises(Gone):
        await subject.runtime.start_container("none")
    with pytest.raises(Gone):
        await subject.runtime.stop_container("none", 0)


async def test_images_and_usage(subject: Subject) -> None:
    image = await subject.runtime.image(IMAGE)
    assert image is not None
    assert image.id
    await subject.run("a", "exec sleep 1000")
    [usage] = [item for item in await subject.runtime.usage() if item.uid in ("a", "")]
    assert usage.name == "main"
    assert (await subject.runtime.info()).ready


async def test_a_command_runs_in_a_container(subject: Subject) -> None:
    _, container = await subject.run("a", "exec sleep 1000")
    assert (await subject.runtime.exec_sync(container, ["true"], 5)).exit_code == 0
