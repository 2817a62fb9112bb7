"""Whom preemption evicts, and where."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from scheduled import Scheduled
from scheduler_objects import Json, cluster, info, node, pod_json

from tiphys.api.http import Request, Response
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.policy.poddisruptionbudget import PodDisruptionBudget
from tiphys.kinds.scheduling.priorityclass import PRIORITY_CLASSES
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.pipeline import DEFAULT, Unschedulable, choose
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.preemption import NEVER, Candidate, Preemption, budget_of


def find(made: PodInfo, of: Cluster, *budgets: Json) -> Candidate | str:
    preemption = Preemption()
    for each in budgets:
        pdb = msgspec.convert(each, PodDisruptionBudget)
        preemption.set_budget(pdb.metadata, budget_of(pdb))
    return preemption.find(made, of, DEFAULT)


def evicted(made: PodInfo, of: Cluster, *budgets: Json) -> tuple[str, list[str]]:
    found = find(made, of, *budgets)
    assert isinstance(found, Candidate), found
    return of.name(found.row), [victim.pod.metadata.name for victim in found.victims]


def nodes(*names: str, **more: Any) -> Cluster:
    return cluster(*(node(name, cpu="4", **more) for name in names))


def low(name: str, cpu: str = "1", priority: int = 1, started: str = "", **more: Any) -> PodInfo:
    manifest = pod_json(name, cpu=cpu, priority=priority, **more)
    manifest["status"] = {"startTime": started} if started else {}
    return PodInfo(msgspec.convert(manifest, Pod))


def high(cpu: str = "4", priority: int = 100, **more: Any) -> PodInfo:
    return info("high", cpu=cpu, priority=priority, **more)


def budget(app: str, allowed: int = 0) -> Json:
    spec = {"selector": {"matchLabels": {"app": app}}}
    meta = {"name": app, "namespace": "default"}
    return {"metadata": meta, "spec": spec, "status": {"disruptionsAllowed": allowed}}


def test_only_as_many_go_as_must_and_the_least_important() -> None:
    of = nodes("a")
    for name, priority in (("x", 3), ("y", 1), ("z", 2)):
        of.place(low(name, "1", priority), "a")
    assert evicted(high("2"), of) == ("a", ["y"])
    assert evicted(high("3"), of) == ("a", ["z", "y"])


def test_the_node_with_the_least_important_victim() -> None:
    of = nodes("a", "b")
    of.place(low("x", "4", 5), "a")
    of.place(low("y", "4", 3), "b")
    assert evicted(high(), of) == ("b", ["y"])


def test_then_the_fewest_victims_and_then_the_youngest() -> None:
    of = nodes("a", "b", "c")
    of.place(low("a1", "2"), "a")
    of.place(low("a2", "2"), "a")
    of.place(low("b1", "4", started="2026-01-01T00:00:00Z"), "b")
    of.place(low("c1", "4", started="2026-01-02T00:00:00Z"), "c")
    assert evicted(high(), of) == ("c", ["c1"])


def test_equals_and_betters_stay() -> None:
    of = nodes("a")
    of.place(low("x", "4", 100), "a")
    assert find(high(), of) == "0/1 nodes are available: 1 No preemption victims found for incoming pod."


def test_what_evictions_cannot_mend() -> None:
    of = nodes("a", taints=[{"key": "k", "effect": "NoSchedule"}])
    of.set_node(node("small", cpu="1"))
    of.place(low("x", "4"), "a")
    assert find(high(), of) == "0/2 nodes are available: 2 Preemption is not helpful for scheduling."


def test_a_pod_may_renounce() -> None:
    of = nodes("a")
    of.place(low("x", "4"), "a")
    assert find(high(preemptionPolicy="Never"), of) == NEVER


def test_a_budget_is_broken_only_if_nothing_else_helps() -> None:
    of = nodes("a", "b")
    of.place(low("x", "4", 1, labels={"app": "db"}), "a")
    of.place(low("y", "4", 50), "b")
    assert evicted(high(), of, budget("db")) == ("b", ["y"])
    assert evicted(high(), of, budget("db", allowed=1)) == ("a", ["x"])
    of.remove_node("b")
    found = find(high(), of, budget("db"))
    assert isinstance(found, Candidate)
    assert found.violations == 1


def test_on_one_node_the_protected_come_back_first() -> None:
    of = nodes("a")
    of.place(low("guarded", "2", 1, labels={"app": "db"}), "a")
    of.place(low("free", "2", 2), "a")
    assert evicted(high("2"), of, budget("db")) == ("a", ["free"])


def test_ports_are_freed() -> None:
    port = [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}]}]
    of = nodes("a")
    of.place(low("holder", containers=port), "a")
    of.place(low("other"), "a")
    made = info("high", priority=9, containers=port)
    assert evicted(made, of) == ("a", ["holder"])
    assert {pod.pod.metadata.name for pod in of.pods(0)} <= {"holder", "other"}
    assert of.placed("default/holder") is not None


def test_anti_affinity_is_freed_and_the_cluster_left_as_it_was() -> None:
    term = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "x"}}}
    anti = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    of = nodes("a", labels={"zone": "1"})
    of.place(low("x", labels={"app": "x"}), "a")
    of.place(low("y"), "a")
    before = of.requested.copy()
    assert evicted(high("1", affinity=anti), of) == ("a", ["x"])
    assert (of.requested == before).all()


def test_a_promise_counts_for_equals_and_lower_but_not_for_higher() -> None:
    of = nodes("a")
    of.nominate(info("first", cpu="4", priority=10), "a")
    assert isinstance(choose(info("low", cpu="1"), of), Unschedulable)
    assert isinstance(choose(info("equal", cpu="1", priority=10), of), Unschedulable)
    assert choose(info("higher", cpu="1", priority=11), of) == of.row("a")
    of.withdraw("default/first")
    assert choose(info("low", cpu="1"), of) == of.row("a")


def test_two_that_preempt_do_not_count_on_the_same_room() -> None:
    of = nodes("a", "b")
    of.place(low("x", "4"), "a")
    of.place(low("y", "4"), "b")
    preemption = Preemption()
    first = preemption.find(high(), of, DEFAULT)
    assert isinstance(first, Candidate)
    of.nominate(high(), of.name(first.row))
    second = preemption.find(info("next", cpu="4", priority=100), of, DEFAULT)
    assert isinstance(second, Candidate)
    assert second.row != first.row


@pytest.fixture
async def ranked(scheduled: Scheduled) -> Scheduled:
    """A node of four cores, taken by a pod of low priority."""
    for name, value in (("high", 1000), ("low", 10)):
        await scheduled.client.of(PRIORITY_CLASSES).create_json({"metadata": {"name": name}, "value": value})
    await scheduled.node("a", cpu="4")
    await scheduled.pod("victim", cpu="4", priorityClassName="low")
    await scheduled.bound("victim")
    return scheduled


async def test_the_victim_is_told_and_its_place_taken(ranked: Scheduled) -> None:
    # Nobody stops containers here: the victim stays until the test removes it.
    await ranked.pod("high", cpu="4", priorityClassName="high")

    async def going() -> Pod | None:
        found = await ranked.get("victim")
        return found if found.deleted else None

    victim: Pod = await ranked.until(going, "victim deleted")
    condition = victim.status.condition("DisruptionTarget")
    assert condition is not None
    assert (condition.status, condition.reason) == ("True", "PreemptionByScheduler")
    assert condition.message == "default-scheduler: preempting to accommodate a higher priority pod"
    assert (await ranked.get("high")).status.nominated_node_name == "a"
    event = await ranked.event("victim", "Preempted")
    assert event.message == f"Preempted by pod {(await ranked.get('high')).metadata.uid} on node a"
    await ranked.delete("victim")
    assert await ranked.bound("high") == "a"


async def test_a_lower_pod_does_not_take_the_promised_room(ranked: Scheduled) -> None:
    await ranked.pod("high", cpu="3", priorityClassName="high")

    async def promised() -> str:
        return (await ranked.get("high")).status.nominated_node_name

    await ranked.until(promised, "high nominated")
    await ranked.pod("late", cpu="3", priorityClassName="low")
    await ranked.refused("late", "0/1 nodes are available: 1 Insufficient cpu.")
    await ranked.delete("victim")
    assert await ranked.bound("high") == "a"


async def test_a_pod_that_may_not_preempt_says_so(ranked: Scheduled) -> None:
    patient = {"metadata": {"name": "patient"}, "value": 1000, "preemptionPolicy": "Never"}
    await ranked.client.of(PRIORITY_CLASSES).create_json(patient)
    await ranked.pod("patient", cpu="4", priorityClassName="patient")
    condition = await ranked.refused("patient", "0/1 nodes are available: 1 Insufficient cpu.")
    assert condition.message.endswith(f" preemption: {NEVER}")
    assert not (await ranked.get("victim")).deleted


async def test_an_eviction_that_fails_gives_the_promise_back(ranked: Scheduled) -> None:
    refused: list[str] = []

    def answer(request: Request) -> Response | None:
        if request.method == "DELETE" and not refused:
            refused.append(request.path)
            return Response(500, b'{"kind":"Status","code":500,"message":"no"}')
        return None

    ranked.answer = answer
    await ranked.pod("high", cpu="4", priorityClassName="high")
    await ranked.until(lambda: refused, "eviction refused")

    async def going() -> bool:
        await ranked.clock.advance(1)
        return (await ranked.get("victim")).deleted

    await ranked.until(going, "victim deleted after all")
