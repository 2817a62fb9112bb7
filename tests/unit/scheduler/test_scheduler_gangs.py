"""Gangs against the API server: all of a group or none, what its pods say, and what is done for all at once."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from scheduled import Scheduled

from tiphys.api.errors import InternalError, Invalid
from tiphys.api.http import Request, Response
from tiphys.api.meta import ObjectMeta
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.scheduling.podgroup import POD_GROUPS, PodGroup
from tiphys.kinds.scheduling.priorityclass import PRIORITY_CLASSES
from tiphys.kinds.scheduling.workload import WORKLOADS
from tiphys.scheduler.gang import LABEL, MIN_AVAILABLE

GROUP = "g"
META = ObjectMeta(name=GROUP, namespace="default")


async def group(scheduled: Scheduled, least: int | None, name: str = GROUP) -> None:
    """A PodGroup of at least so many pods; None for one without a gang."""
    policy: dict[str, Any] = {"gang": {"minCount": least}} if least is not None else {"basic": {}}
    meta = {"name": name, "namespace": "default"}
    await scheduled.client.of(POD_GROUPS).create_json({"metadata": meta, "spec": {"schedulingPolicy": policy}})


async def members(scheduled: Scheduled, *names: str, of: str = GROUP, **more: Any) -> None:
    for name in names:
        await scheduled.pod(name, schedulingGroup={"podGroupName": of}, **({"cpu": "1"} | more))


async def nodes_of(scheduled: Scheduled, *names: str) -> list[str]:
    return [(await scheduled.get(name)).spec.node_name for name in names]


async def stored(scheduled: Scheduled) -> PodGroup:
    return await scheduled.client.of(POD_GROUPS).get(GROUP, "default")


async def scheduled_condition(scheduled: Scheduled, status: str) -> str:
    """The message of the PodGroup's condition once it has the status."""

    async def check() -> str | None:
        found = (await stored(scheduled)).scheduled
        return found.message or " " if found is not None and found.status == status else None

    message: str = await scheduled.until(check, f"the group scheduled: {status}")
    return message.strip()


async def test_members_wait_for_each_other_and_say_so(scheduled: Scheduled) -> None:
    await scheduled.node("a")
    await group(scheduled, 3)
    await members(scheduled, "p0")
    await scheduled.pod("alone")
    await scheduled.bound("alone")
    await scheduled.clock.advance(1.5)
    condition = await scheduled.refused("p0", "waiting for 2 more pods of group default/g")
    assert condition.reason == "Unschedulable"
    assert await scheduled_condition(scheduled, "False") == "waiting for 2 more pods of group default/g"
    await members(scheduled, "p1", "p2")
    assert [await scheduled.bound(f"p{n}") for n in range(3)] == ["a", "a", "a"]
    assert await scheduled_condition(scheduled, "True") == ""


async def test_pods_wait_for_their_group_to_be_created(scheduled: Scheduled) -> None:
    await scheduled.node("a")
    await members(scheduled, "p0", "p1")
    await scheduled.pod("alone")
    await scheduled.bound("alone")
    await scheduled.clock.advance(1.5)
    await scheduled.refused("p0", "waiting for the pod group default/g to be created")
    await group(scheduled, 2)
    assert [await scheduled.bound(f"p{n}") for n in range(2)] == ["a", "a"]


async def test_none_is_bound_if_one_does_not_fit_and_the_message_says_which(scheduled: Scheduled) -> None:
    await scheduled.node("a", cpu="2")
    await group(scheduled, 3)
    await members(scheduled, "p0", "p1", "p2")
    why = "2 of 3 pods of the group found a place, default/p2 did not: 0/1 nodes are available: 1 Insufficient cpu."
    for name in ("p0", "p1", "p2"):
        await scheduled.refused(name, why)
    await scheduled.pod("other", cpu="2")
    assert await scheduled.bound("other") == "a"
    assert await nodes_of(scheduled, "p0", "p1", "p2") == ["", "", ""]
    await scheduled.clock.advance(60)
    await scheduled.node("b", cpu="3")
    assert [await scheduled.bound(f"p{n}") for n in range(3)] == ["b", "b", "b"]


async def test_those_above_the_least_number_are_bound_if_they_fit(scheduled: Scheduled) -> None:
    await scheduled.node("a", cpu="3")
    for name in ("p0", "p1", "p2", "p3"):
        await members(scheduled, name)
    await group(scheduled, 2)

    async def bound() -> list[str]:
        found = await nodes_of(scheduled, "p0", "p1", "p2", "p3")
        return sorted(found) if found.count("a") == 3 else []

    assert await scheduled.until(bound, "three of four bound") == ["", "a", "a", "a"]
    await scheduled.clock.advance(60)
    await scheduled.node("b")
    assert {await scheduled.bound(f"p{n}") for n in range(4)} == {"a", "b"}


async def test_pods_that_come_late_are_bound_alone(scheduled: Scheduled) -> None:
    await scheduled.node("a")
    await group(scheduled, 2)
    await members(scheduled, "p0", "p1")
    await scheduled.bound("p1")
    await members(scheduled, "p2")
    assert await scheduled.bound("p2") == "a"


async def test_a_basic_group_does_not_hold_its_pods(scheduled: Scheduled) -> None:
    await scheduled.node("a", cpu="1")
    await group(scheduled, None)
    await members(scheduled, "p0", "p1")
    bound = await scheduled.until(lambda: _some_bound(scheduled, "p0", "p1"), "one is bound")
    assert len(bound) == 1


async def _some_bound(scheduled: Scheduled, *names: str) -> list[str]:
    return [node for node in await nodes_of(scheduled, *names) if node]


async def test_the_labels_of_the_coscheduling_plugin_make_a_gang(scheduled: Scheduled) -> None:
    await scheduled.node("a")
    labels = {LABEL: "old", MIN_AVAILABLE: "2"}
    await scheduled.pod("p0", labels=labels)
    await scheduled.pod("alone", labels={LABEL: "old"})
    await scheduled.bound("alone")
    await scheduled.clock.advance(1.5)
    await scheduled.refused("p0", "waiting for 1 more pods of group default/old")
    await scheduled.pod("p1", labels=labels)
    assert [await scheduled.bound(f"p{n}") for n in range(2)] == ["a", "a"]


async def test_a_gang_of_higher_priority_makes_room_for_all_of_it(scheduled: Scheduled) -> None:
    for name in ("a", "b"):
        await scheduled.node(name, cpu="1")
    for name in ("low0", "low1"):
        await scheduled.pod(name, cpu="1")
        await scheduled.bound(name)
    await group(scheduled, 2)
    await _class(scheduled)
    await members(scheduled, "p0", "p1", priorityClassName="high")
    await scheduled.until(lambda: _gone(scheduled, "low0", "low1"), "both are evicted")
    await scheduled.clock.advance(15)
    assert sorted([await scheduled.bound("p0"), await scheduled.bound("p1")]) == ["a", "b"]


async def test_nobody_is_evicted_if_the_gang_would_not_fit_even_so(scheduled: Scheduled) -> None:
    for name in ("a", "b"):
        await scheduled.node(name, cpu="1")
    for name in ("low0", "low1"):
        await scheduled.pod(name, cpu="1")
        await scheduled.bound(name)
    await group(scheduled, 3)
    await _class(scheduled)
    await members(scheduled, "p0", "p1", "p2", priorityClassName="high")
    await scheduled.refused(
        "p0", "0 of 3 pods of the group found a place, default/p0 did not: 0/2 nodes are available: 2 Insufficient cpu."
    )
    assert await nodes_of(scheduled, "low0", "low1") != ["", ""]
    assert not [r for r in scheduled.requests if r.method == "DELETE"]


async def _class(scheduled: Scheduled) -> None:
    await scheduled.client.of(PRIORITY_CLASSES).create_json({"metadata": {"name": "high"}, "value": 100})


async def _gone(scheduled: Scheduled, *names: str) -> bool:
    """Whether all are on their way out; nobody runs them, so we let them go."""
    pods, _ = await scheduled.client.of(PODS).list("default")
    left = [pod for pod in pods if pod.metadata.name in names]
    for pod in left:
        if pod.deleted:
            await scheduled.delete(pod.metadata.name)
    return not left


async def test_nothing_is_bound_if_the_first_binding_fails(scheduled: Scheduled) -> None:
    refusals = [Response(500, orjson.dumps(InternalError("no").status()))]
    scheduled.answer = lambda request: refusals.pop() if request.path.endswith("/binding") and refusals else None
    await scheduled.node("a", cpu="2")
    await group(scheduled, 2)
    await members(scheduled, "p0", "p1")
    await scheduled.until(lambda: not refusals, "a binding was tried")
    await scheduled.pod("other", cpu="2")
    assert await scheduled.bound("other") == "a"
    assert await nodes_of(scheduled, "p0", "p1") == ["", ""]


async def test_a_later_binding_that_fails_keeps_its_place_from_others(scheduled: Scheduled) -> None:
    failing = asyncio.Event()

    def answer(request: Request) -> Response | None:
        tried = [r.path for r in scheduled.requests if r.path.endswith("/binding")]
        if not request.path.endswith("/binding") or len(tried) < 2 or failing.is_set():
            return None
        failing.set()
        return Response(500, orjson.dumps(InternalError("no").status()))

    scheduled.answer = answer
    await scheduled.node("a", cpu="2")
    await group(scheduled, 2)
    await members(scheduled, "p0", "p1")
    await scheduled.until(failing.is_set, "the second binding failed")
    await scheduled.pod("other", cpu="1")
    await scheduled.refused("other", "0/1 nodes are available: 1 Insufficient cpu.")
    await scheduled.clock.advance(3)
    assert [await scheduled.bound(f"p{n}") for n in range(2)] == ["a", "a"]


async def test_a_member_that_leaves_makes_the_others_wait_again(scheduled: Scheduled) -> None:
    await group(scheduled, 2)
    await members(scheduled, "p0", "p1")
    refusal = "0 of 2 pods of the group found a place, default/p0 did not: no nodes available to schedule pods"
    await scheduled.refused("p0", refusal)
    await scheduled.delete("p1")
    await scheduled.clock.advance(60)
    await scheduled.node("a")
    await scheduled.pod("alone")
    await scheduled.bound("alone")
    assert await nodes_of(scheduled, "p0") == [""]
    await members(scheduled, "p2")
    assert [await scheduled.bound("p0"), await scheduled.bound("p2")] == ["a", "a"]


async def test_a_member_that_is_lost_is_replaced_without_waiting_for_others(scheduled: Scheduled) -> None:
    await scheduled.node("a")
    await group(scheduled, 2)
    await members(scheduled, "p0", "p1")
    await scheduled.bound("p1")
    await scheduled.delete("p0")
    await members(scheduled, "p2")
    assert await scheduled.bound("p2") == "a"


async def test_a_node_that_grows_takes_the_waiting_gang(scheduled: Scheduled) -> None:
    await scheduled.node("a", cpu="1")
    await group(scheduled, 2)
    await members(scheduled, "p0", "p1")
    await scheduled.refused(
        "p0", "1 of 2 pods of the group found a place, default/p1 did not: 0/1 nodes are available: 1 Insufficient cpu."
    )
    await scheduled.clock.advance(60)
    patch = {"status": {"allocatable": {"cpu": "2"}}}
    await scheduled.client.of(NODES).patch(ObjectMeta(name="a"), patch, subresource="status")
    assert [await scheduled.bound(f"p{n}") for n in range(2)] == ["a", "a"]


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ({}, "spec.schedulingPolicy"),
        ({"gang": {"minCount": 0}}, "spec.schedulingPolicy.gang.minCount"),
        ({"gang": {"minCount": 1}, "basic": {}}, "spec.schedulingPolicy"),
    ],
)
async def test_a_group_needs_one_policy(scheduled: Scheduled, policy: dict[str, Any], field: str) -> None:
    meta = {"name": GROUP, "namespace": "default"}
    with pytest.raises(Invalid) as raised:
        await scheduled.client.of(POD_GROUPS).create_json({"metadata": meta, "spec": {"schedulingPolicy": policy}})
    assert field in str(raised.value)


async def test_the_templates_of_a_workload_are_checked_and_stay(scheduled: Scheduled) -> None:
    meta = {"name": "w", "namespace": "default"}
    template = {"name": "workers", "schedulingPolicy": {"gang": {"minCount": 2}}}
    workloads = scheduled.client.of(WORKLOADS)
    await workloads.create_json({"metadata": meta, "spec": {"podGroupTemplates": [template]}})
    with pytest.raises(Invalid):
        await workloads.patch(ObjectMeta(**meta), {"spec": {"podGroupTemplates": []}})
    twice = {"metadata": {**meta, "name": "v"}, "spec": {"podGroupTemplates": [template, template]}}
    with pytest.raises(Invalid):
        await workloads.create_json(twice)


RACK = "example.com/rack"


async def _in_one_rack(scheduled: Scheduled, least: int) -> None:
    spec = {
        "schedulingPolicy": {"gang": {"minCount": least}},
        "schedulingConstraints": {"topology": [{"key": RACK}]},
    }
    await scheduled.client.of(POD_GROUPS).create_json(
        {"metadata": {"name": GROUP, "namespace": "default"}, "spec": spec}
    )


async def test_a_group_goes_into_one_domain_and_what_comes_later_too(scheduled: Scheduled) -> None:
    for name, rack, cpu in (("a1", "a", "3"), ("b1", "b", "1"), ("b2", "b", "2"), ("none", "", "8")):
        await scheduled.node(name, cpu=cpu, labels={RACK: rack} if rack else {})
    await scheduled.pod("here", cpu="1", nodeName="a1")
    await _in_one_rack(scheduled, 3)
    await members(scheduled, "p0", "p1", "p2")
    assert {await scheduled.bound(f"p{n}") for n in range(3)} == {"b1", "b2"}
    await members(scheduled, "p3")
    why = "0 of 1 pods of the group found a place in example.com/rack=b, default/p3 did not: 0/4 nodes are available: "
    await scheduled.refused("p3", why + "2 Insufficient cpu, 2 node(s) were not of example.com/rack=b.")
    await scheduled.clock.advance(60)
    await scheduled.node("b3", labels={RACK: "b"})
    assert await scheduled.bound("p3") == "b3"


async def test_a_group_that_no_domain_takes_says_how_far_the_best_one_went(scheduled: Scheduled) -> None:
    for name, rack, cpu in (("a1", "a", "1"), ("b1", "b", "2")):
        await scheduled.node(name, cpu=cpu, labels={RACK: rack})
    await _in_one_rack(scheduled, 3)
    await members(scheduled, "p0", "p1", "p2")
    why = "2 of 3 pods of the group found a place in example.com/rack=b, default/p2 did not: 0/2 nodes are available: "
    await scheduled.refused("p0", why + "1 Insufficient cpu, 1 node(s) were not of example.com/rack=b.")


async def test_a_group_for_a_label_that_no_node_has(scheduled: Scheduled) -> None:
    await scheduled.node("a")
    await _in_one_rack(scheduled, 1)
    await members(scheduled, "p0")
    why = "0 of 1 pods of the group found a place, default/p0 did not: 0/1 nodes are available: "
    await scheduled.refused("p0", why + f"1 node(s) didn't have the label {RACK} that the pod group asks for.")


def test_fields_that_nothing_acts_on_are_dropped_as_upstream_drops_them() -> None:
    kept = {"schedulingPolicy": {"basic": {}}, "schedulingConstraints": {"topology": [{"key": RACK}]}}
    made = {"spec": {**kept, "disruptionMode": "PodGroup", "priorityClassName": "high"}}
    POD_GROUPS.strategy.prepare(made, None)
    assert made == {"spec": kept}
