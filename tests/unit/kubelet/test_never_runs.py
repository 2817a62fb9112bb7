"""Containers that can never run, over hours of virtual time: few tries, few writes; and they run once they can."""

from __future__ import annotations

from typing import Any

import pytest
from simulation import Simulation, simulation

from tiphys.base.clock import VirtualClock
from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.core.pod import PODS
from tiphys.kubelet.fake import FakeRuntime

HOUR = 3600.0


def spec(**more: Any) -> dict[str, Any]:
    return {"containers": [{"name": "main", "image": "app:1", **more}]}


async def written(kube: Simulation) -> int:
    return int((await kube.client.of(PODS).list())[1])


async def hours(kube: Simulation, count: float) -> int:
    """How much was written meanwhile; the node's own reports too."""
    before = await written(kube)
    for _ in range(round(count * 60)):
        await kube.after(60)
    return await written(kube) - before


class Counting(FakeRuntime):
    """Counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__(VirtualClock())
        self.pulls = self.made = 0

    async def pull_image(self, *arguments: Any) -> str:
        self.pulls += 1
        return await super().pull_image(*arguments)

    async def create_container(self, *arguments: Any) -> str:
        self.made += 1
        return await super().create_container(*arguments)


async def test_a_missing_image_is_asked_for_ever_more_rarely() -> None:
    runtime = Counting()
    runtime.without_image("app:1")
    async with simulation(runtime) as kube:
        quiet = await hours(kube, 1)
        await kube.create(spec())
        waiting = (await kube.container())["state"]["waiting"]
        assert waiting["reason"] in ("ErrImagePull", "ImagePullBackOff")
        await hours(kube, 1)
        waiting = (await kube.container())["state"]["waiting"]
        assert waiting["reason"] == "ImagePullBackOff"
        assert "not found" in waiting["message"]
        # 10, 20, 40, 80, 160 s, and then every 300 s.
        assert 8 <= runtime.pulls <= 18
        pulls = runtime.pulls
        assert await hours(kube, 1) - quiet <= 150
        assert runtime.pulls - pulls <= 13
        runtime._missing.clear()
        await hours(kube, 0.1)
        assert "running" in (await kube.container())["state"]


@pytest.mark.parametrize(("fault", "reasons"), [
    ("create", ("CreateContainerError",)), ("start", ("RunContainerError", "CrashLoopBackOff")),
])  # fmt: skip
async def test_a_container_that_cannot_be_started_is_tried_ever_more_rarely(fault: str, reasons: Any) -> None:
    runtime = Counting()
    async with simulation(runtime) as kube:
        quiet = await hours(kube, 1)
        await kube.create(spec(), annotations={"tiphys.io/fault": fault})
        assert (await kube.container())["state"]["waiting"]["reason"] in reasons
        await hours(kube, 1)
        made = runtime.made
        cost = await hours(kube, 1) - quiet
        # What cannot be created is tried every ten seconds, as upstream does; what crashes, ever more rarely.
        assert runtime.made - made <= (370 if fault == "create" else 15)
        assert cost <= (800 if fault == "create" else 60)
        pods = kube.client.of(PODS)
        await pods.patch(
            (await pods.get("p", "default")).metadata, {"metadata": {"annotations": {"tiphys.io/fault": ""}}}
        )
        await hours(kube, 0.2)
        assert "running" in (await kube.container())["state"]


async def test_a_missing_config_map_is_waited_for() -> None:
    async with simulation() as kube:
        quiet = await hours(kube, 1)
        await kube.create(spec(envFrom=[{"configMapRef": {"name": "absent"}}]))
        waiting = (await kube.container())["state"]["waiting"]
        assert waiting == {"reason": "CreateContainerConfigError", "message": 'configmap "absent" not found'}
        await hours(kube, 1)
        assert await hours(kube, 1) - quiet <= 800
        events, _ = await kube.client.of(EVENTS).list("default")
        assert any(event.reason == "Failed" and 'configmap "absent" not found' in event.message for event in events)
