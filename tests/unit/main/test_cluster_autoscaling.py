"""The cluster autoscaler with a real scheduler and API server, in virtual time; nodes come from a shelf."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scheduler"))
from scheduled import Scheduled, scheduling
from scheduler_objects import node_json

from tiphys.base.tasks import Supervisor
from tiphys.client.informer import Informers
from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.policy.poddisruptionbudget import POD_DISRUPTION_BUDGETS
from tiphys.main.autoscaling.autoscaler import ClusterAutoscaler, Options
from tiphys.main.autoscaling.drain import TAINT
from tiphys.main.autoscaling.provider import NodeGroup, ProviderError
from tiphys.scheduler import config

READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "web-uid", "controller": True}


class Shelf:
    """Has nodes called shelf-1 and so on. `broken` says why none is given; `dead` that they never become Ready."""

    def __init__(self, scheduled: Scheduled, minimum: int = 0, maximum: int = 3) -> None:
        self._scheduled, self._limits = scheduled, (minimum, maximum)
        self.there: list[str] = []
        self.broken, self.dead = "", False
        self.asked: list[int] = []

    async def groups(self) -> Sequence[NodeGroup]:
        return [NodeGroup("shelf", *self._limits, len(self.there), tuple(self.there))]

    async def grow(self, group: str, count: int) -> None:
        self.asked.append(count)
        if self.broken:
            raise ProviderError(self.broken)
        for _ in range(count):
            await self.put(f"shelf-{len(self.there) + 1}")

    async def put(self, name: str) -> None:
        self.there.append(name)
        made = node_json(name)
        made["status"]["conditions"] = [READY | ({"status": "False"} if self.dead else {})]
        if self.dead:
            made["spec"]["taints"] = [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
        await self._scheduled.client.of(NODES).create_json(made)

    async def remove(self, group: str, node: str) -> None:
        self.there.remove(node)
        await self._scheduled.client.of(NODES).delete((await self._scheduled.client.of(NODES).get(node)).metadata)


class World:
    def __init__(self, scheduled: Scheduled, shelf: Shelf) -> None:
        self.scheduled, self.shelf = scheduled, shelf
        self.clock, self.client = scheduled.clock, scheduled.client

    async def pod(self, name: str, cpu: str = "3", ready_on: str = "", **more: Any) -> None:
        """One that a ReplicaSet owns; with `ready_on` it runs there already."""
        placed = {"nodeName": ready_on} if ready_on else {}
        spec = {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}]}
        meta = {"name": name, "namespace": "default", "labels": {"app": "web"}, "ownerReferences": [OWNER]}
        body = {"metadata": meta, "spec": {**spec, "terminationGracePeriodSeconds": 0, **placed, **more}}
        await self.client.of(PODS).create_json(body)
        if ready_on:
            status = {"phase": "Running", "conditions": [READY]}
            await self.scheduled.patch(name, {"status": status}, subresource="status")

    async def until(self, check: Any, what: str) -> Any:
        """As `Scheduled.until`, while the clock goes on."""

        async def moving() -> Any:
            await self.clock.advance(0.25)
            found = check()
            return await found if hasattr(found, "__await__") else found

        return await self.scheduled.until(moving, what)

    async def bound(self, name: str) -> str:
        async def check() -> str:
            return (await self.scheduled.get(name)).spec.node_name

        found: str = await self.until(check, f"{name} bound")
        return found

    async def said(self, reason: str) -> str:
        async def check() -> str:
            events, _ = await self.client.of(EVENTS).list("default")
            return next((event.message for event in events if event.reason == reason), "")

        found: str = await self.until(check, f"event {reason}")
        return found


@asynccontextmanager
async def world(minimum: int = 0, maximum: int = 3, nodes: int = 0) -> AsyncIterator[World]:
    async with scheduling() as scheduled:
        shelf = Shelf(scheduled, minimum, maximum)
        await scheduled.client.of(NODES).create_json(
            node_json("own") | {"status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                                           "conditions": [READY]}}
        )  # fmt: skip
        for number in range(nodes):
            await shelf.put(f"shelf-{number + 1}")
        made = World(scheduled, shelf)
        async with Supervisor(scheduled.clock) as supervisor:
            informers = Informers(scheduled.client, scheduled.clock)
            scaler = ClusterAutoscaler(
                scheduled.client, informers, scheduled.clock, config.default(), [shelf], lambda: Options(30.0)
            )
            for informer in informers:
                supervisor.start(informer.resource.plural, informer.run)
            supervisor.start("autoscaler", scaler.run)
            yield made


async def test_pods_that_find_no_place_get_as_many_nodes_as_they_need() -> None:
    async with world() as made:
        for number in range(5):
            await made.pod(f"p{number}", cpu="2")
        for number in range(5):
            await made.bound(f"p{number}")
        assert made.shelf.there == ["shelf-1", "shelf-2"]
        assert await made.said("TriggeredScaleUp") == "pod triggered scale-up: [{shelf 0->2 (max: 3)}]"


async def test_no_node_comes_for_a_pod_that_would_not_fit_it() -> None:
    async with world() as made:
        await made.pod("huge", cpu="64")
        assert await made.said("NotTriggerScaleUp") == "pod didn't trigger scale-up: 1 would not fit the pod"
        assert made.shelf.asked == []


async def test_the_maximum_holds() -> None:
    async with world(maximum=1) as made:
        for number in range(4):
            await made.pod(f"p{number}")
        assert "1 max node group size reached" in await made.said("NotTriggerScaleUp")
        await made.until(lambda: made.shelf.there == ["shelf-1"], "one node")
        assert made.shelf.asked == [1]


async def test_a_provider_that_fails_is_asked_again_with_growing_pauses() -> None:
    async with world() as made:
        made.shelf.broken = "no machines left"
        await made.pod("a")
        await made.pod("b")
        assert "no machines left" in await made.said("FailedScaleUp")
        for _ in range(240):
            await made.clock.advance(0.5)
        assert 2 <= len(made.shelf.asked) <= 8
        made.shelf.broken = ""
        await made.until(lambda: made.shelf.there == ["shelf-1"], "a node")
        await made.bound("b")


async def test_a_node_that_never_becomes_ready_is_taken_back() -> None:
    async with world() as made:
        made.shelf.dead = True
        await made.pod("a")
        await made.pod("b")
        await made.until(lambda: made.shelf.there == ["shelf-1"], "a node")
        for _ in range(140):
            await made.clock.advance(0.5)
        assert "not Ready after 60 s: shelf-1" in await made.said("FailedScaleUp")
        await made.until(lambda: made.shelf.there == [], "it was taken back")


async def test_an_idle_node_goes_and_its_pods_move_first() -> None:
    async with world(nodes=2) as made:
        await made.pod("a", cpu="500m", ready_on="shelf-1")
        await made.until(lambda: made.shelf.there == [], "both are gone")
        assert not await _exists(made, "a")


async def test_the_minimum_stays() -> None:
    async with world(minimum=1, nodes=2) as made:
        await made.until(lambda: len(made.shelf.there) == 1, "one is gone")
        for _ in range(200):
            await made.clock.advance(0.5)
        assert len(made.shelf.there) == 1


@pytest.mark.parametrize("why", ["budget", "annotation", "full"])
async def test_a_node_stays_whose_pods_cannot_go(why: str) -> None:
    async with world(nodes=1) as made:
        if why == "budget":
            budget = {"metadata": {"name": "b", "namespace": "default"},
                      "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}  # fmt: skip
            await made.client.of(POD_DISRUPTION_BUDGETS).create_json(budget)
        if why == "full":
            await made.pod("other", cpu="3800m", ready_on="own")
        await made.pod("a", cpu="500m", ready_on="shelf-1")
        if why == "annotation":
            notes = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
            await made.scheduled.patch("a", {"metadata": {"annotations": notes}})
        for _ in range(600):
            await made.clock.advance(0.5)
        assert made.shelf.there == ["shelf-1"]
        assert await _exists(made, "a")
        if why == "budget":
            # It was tried, and given up.
            assert TAINT not in [taint.key for taint in (await made.client.of(NODES).get("shelf-1")).spec.taints]


async def test_pods_that_come_while_a_node_is_drained_keep_it() -> None:
    async with world(nodes=1) as made:
        budget = {"metadata": {"name": "b", "namespace": "default"},
                  "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}  # fmt: skip
        await made.client.of(POD_DISRUPTION_BUDGETS).create_json(budget)
        await made.pod("a", cpu="500m", ready_on="shelf-1")

        async def tainted() -> bool:
            node = await made.client.of(NODES).get("shelf-1")
            return any(taint.key == TAINT for taint in node.spec.taints)

        await made.until(tainted, "being drained")
        await made.pod("b", cpu="3800m")
        await made.pod("c", cpu="3")
        assert {await made.bound(name) for name in "bc"} == {
            "own",
            "shelf-1",
        }
        assert not await tainted()
        assert await _exists(made, "a")


async def test_a_restart_lets_go_of_nodes_that_were_being_drained() -> None:
    async with scheduling() as scheduled:
        await scheduled.node("own", unschedulable=True, taints=[{"key": TAINT, "value": "1", "effect": "NoSchedule"}])
        async with Supervisor(scheduled.clock) as supervisor:
            informers = Informers(scheduled.client, scheduled.clock)
            scaler = ClusterAutoscaler(
                scheduled.client, informers, scheduled.clock, config.default(), [Shelf(scheduled)], Options
            )
            for informer in informers:
                supervisor.start(informer.resource.plural, informer.run)
            supervisor.start("autoscaler", scaler.run)

            async def free() -> bool:
                node = await scheduled.client.of(NODES).get("own")
                return not node.spec.taints and not node.spec.unschedulable

            await scheduled.until(free, "free again")


async def _exists(made: World, name: str) -> bool:
    pods, _ = await made.client.of(PODS).list("default")
    return any(pod.metadata.name == name for pod in pods)
