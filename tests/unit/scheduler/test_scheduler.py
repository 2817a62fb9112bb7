"""The scheduler against the API server: what users see of it."""

from __future__ import annotations

import orjson
import pytest
from scheduled import Scheduled
from scheduler_objects import container

from tiphys.api.errors import Conflict, InternalError
from tiphys.api.http import Request, Response
from tiphys.api.meta import ObjectMeta
from tiphys.base.clock import VirtualClock
from tiphys.client.client import Client
from tiphys.client.informer import Informers
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.core.service import SERVICES
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.plugins.node_ports import NodePorts
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.scheduler import Scheduler

NO_NODES = "no nodes available to schedule pods"
NO_CPU = "0/1 nodes are available: 1 Insufficient cpu."


def bindings(scheduled: Scheduled) -> list[str]:
    """The nodes that the scheduler asked for, in order."""
    return [orjson.loads(r.body)["target"]["name"] for r in scheduled.requests if r.path.endswith("/binding")]


async def test_a_pod_gets_a_node_and_an_event_says_so(scheduled: Scheduled) -> None:
    await scheduled.node("a")
    await scheduled.pod("p")
    assert await scheduled.bound("p") == "a"
    event = await scheduled.event("p", "Scheduled")
    assert (event.type, event.message) == ("Normal", "Successfully assigned default/p to a")
    assert event.source.component == "default-scheduler"
    condition = (await scheduled.get("p")).status.condition("PodScheduled")
    assert condition is not None
    assert condition.status == "True"


async def test_a_pod_that_no_node_takes_says_why_and_is_bound_once_one_comes(scheduled: Scheduled) -> None:
    await scheduled.pod("p")
    condition = await scheduled.refused("p", NO_NODES)
    assert condition.reason == "Unschedulable"
    event = await scheduled.event("p", "FailedScheduling")
    assert (event.type, event.message) == ("Warning", NO_NODES)
    await scheduled.clock.advance(60)
    await scheduled.node("late")
    assert await scheduled.bound("p") == "late"


async def test_a_node_that_grows_takes_the_waiting_pod(scheduled: Scheduled) -> None:
    await scheduled.node("a", cpu="1")
    await scheduled.pod("p", cpu="2")
    await scheduled.refused("p", NO_CPU)
    await scheduled.clock.advance(60)
    patch = {"status": {"allocatable": {"cpu": "2"}}}
    await scheduled.client.of(NODES).patch(ObjectMeta(name="a"), patch, subresource="status")
    assert await scheduled.bound("p") == "a"


async def test_a_pod_that_goes_makes_room(scheduled: Scheduled) -> None:
    await scheduled.node("a", cpu="1")
    await scheduled.pod("first", cpu="1")
    await scheduled.bound("first")
    await scheduled.pod("second", cpu="1")
    await scheduled.refused("second", NO_CPU)
    await scheduled.clock.advance(60)
    await scheduled.delete("first")
    assert await scheduled.bound("second") == "a"


async def test_a_pod_that_ends_makes_room(scheduled: Scheduled) -> None:
    await scheduled.node("a", cpu="1")
    await scheduled.pod("first", cpu="1")
    await scheduled.bound("first")
    await scheduled.pod("second", cpu="1")
    await scheduled.refused("second", NO_CPU)
    await scheduled.clock.advance(60)
    await scheduled.patch("first", {"status": {"phase": "Succeeded"}}, subresource="status")
    assert await scheduled.bound("second") == "a"


async def test_many_at_once_never_overfill_a_node(scheduled: Scheduled) -> None:
    await scheduled.node("a", cpu="3")
    await scheduled.node("b", cpu="2")
    for number in range(5):
        await scheduled.pod(f"p{number}", cpu="1")
    nodes = [await scheduled.bound(f"p{number}") for number in range(5)]
    assert sorted(nodes) == ["a", "a", "a", "b", "b"]


async def test_gates_hold_a_pod_until_the_last_is_gone(scheduled: Scheduled) -> None:
    await scheduled.node("a")
    await scheduled.pod("gated", schedulingGates=[{"name": "x.io/g"}])
    await scheduled.pod("free")
    await scheduled.bound("free")
    assert (await scheduled.get("gated")).spec.node_name == ""
    condition = (await scheduled.get("gated")).status.condition("PodScheduled")
    assert condition is not None
    assert (condition.status, condition.reason) == ("False", "SchedulingGated")
    await scheduled.patch("gated", {"spec": {"schedulingGates": []}})
    assert await scheduled.bound("gated") == "a"


async def test_pods_of_other_schedulers_are_left_alone(scheduled: Scheduled) -> None:
    await scheduled.node("a")
    await scheduled.pod("theirs", schedulerName="theirs")
    await scheduled.pod("ours")
    await scheduled.bound("ours")
    assert (await scheduled.get("theirs")).spec.node_name == ""
    assert bindings(scheduled) == ["a"]


async def test_pods_that_name_their_node_count_even_before_it_is_there(scheduled: Scheduled) -> None:
    await scheduled.pod("static", cpu="3", nodeName="a")
    await scheduled.node("a", cpu="4")
    await scheduled.pod("p", cpu="2")
    await scheduled.refused("p", NO_CPU)


async def test_pods_count_again_when_their_node_comes_back(scheduled: Scheduled) -> None:
    await scheduled.node("a", cpu="4")
    await scheduled.pod("first", cpu="3")
    await scheduled.bound("first")
    await scheduled.client.of(NODES).delete(ObjectMeta(name="a"))
    await scheduled.pod("second", cpu="2")
    await scheduled.refused("second", NO_NODES)
    await scheduled.clock.advance(60)
    await scheduled.node("a", cpu="4")
    await scheduled.refused("second", NO_CPU)


async def test_a_binding_that_fails_is_taken_back_and_tried_again(scheduled: Scheduled) -> None:
    failing = True

    def answer(request: Request) -> Response | None:
        if failing and request.path.endswith("/first/binding"):
            return Response(500, orjson.dumps(InternalError("no").status()))
        return None

    scheduled.answer = answer
    await scheduled.node("a", cpu="1")
    await scheduled.pod("first", cpu="1")
    await scheduled.until(lambda: bindings(scheduled), "a try to bind")
    await scheduled.pod("second", cpu="1")
    assert await scheduled.bound("second") == "a"
    failing = False
    await scheduled.clock.advance(2)
    await scheduled.refused("first", NO_CPU)


async def test_the_room_of_a_failed_binding_goes_to_who_waited_for_it(scheduled: Scheduled) -> None:
    def answer(request: Request) -> Response | None:
        if request.path.endswith("/first/binding"):
            return Response(500, orjson.dumps(InternalError("no").status()))
        return None

    scheduled.answer = answer
    await scheduled.node("a", cpu="2")
    await scheduled.pod("other", cpu="1")
    await scheduled.bound("other")
    await scheduled.pod("first", cpu="1")
    await scheduled.pod("second", cpu="1")
    for _ in range(4):
        await scheduled.clock.advance(20)
    assert await scheduled.bound("second") == "a"


async def test_a_conflict_leaves_alone_what_somebody_else_bound(scheduled: Scheduled) -> None:
    """The pod was given to another node meanwhile: it must go on counting there."""
    await scheduled.node("a", cpu="1")

    def answer(request: Request) -> Response | None:
        if request.path.endswith("/first/binding"):
            return Response(409, orjson.dumps(Conflict("already assigned").status()))
        return None

    scheduled.answer = answer
    await scheduled.pod("first", cpu="1")
    await scheduled.until(lambda: bindings(scheduled), "a try to bind")
    binding = {"metadata": {"name": "first", "namespace": "default"}, "target": {"kind": "Node", "name": "a"}}
    await scheduled.client.of(PODS).create_json(binding, subresource="binding")
    await scheduled.pod("second", cpu="1")
    await scheduled.refused("second", NO_CPU)
    await scheduled.clock.advance(60)
    assert bindings(scheduled) == ["a"]


async def test_a_refusal_that_stays_the_same_is_written_once(scheduled: Scheduled) -> None:
    await scheduled.pod("p")
    first = await scheduled.refused("p", NO_NODES)
    await scheduled.clock.advance(1000)
    await scheduled.node("a", cpu="1", unschedulable=True)
    await scheduled.clock.advance(20)
    second = await scheduled.refused("p", "0/1 nodes are available: 1 node(s) were unschedulable.")
    assert second.last_transition_time == first.last_transition_time
    writes = [r for r in scheduled.requests if r.path.endswith("/pods/p/status")]
    assert len(writes) == 2


async def test_extended_resources_of_sidecars_count(scheduled: Scheduled) -> None:
    await scheduled.node("a", allocatable={"x.io/gpu": "1"})
    gpu = {"requests": {"x.io/gpu": "1"}, "limits": {"x.io/gpu": "1"}}
    sidecar = {**container("s"), "resources": gpu, "restartPolicy": "Always"}
    await scheduled.pod("first", initContainers=[sidecar])
    await scheduled.bound("first")
    await scheduled.pod("second", initContainers=[sidecar])
    await scheduled.refused("second", "0/1 nodes are available: 1 Insufficient x.io/gpu.")


@pytest.fixture
def unused() -> tuple[VirtualClock, Client]:
    return VirtualClock(), Client(None, manager="none")  # type: ignore[arg-type]


def test_a_scheduler_knows_nothing_before_it_runs(unused: tuple[VirtualClock, Client]) -> None:
    clock, client = unused
    informers = Informers(client, clock)
    Scheduler(client, informers, clock)
    assert {informer.resource.plural for informer in informers} >= {"pods", "nodes", "namespaces"}


async def test_a_plugin_that_fails_holds_up_nobody_else(scheduled: Scheduled, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: NodePorts, info: PodInfo, cluster: Cluster) -> None:
        if info.pod.metadata.name == "unlucky":
            raise ZeroDivisionError("no ports")

    monkeypatch.setattr(NodePorts, "filter", broken)
    await scheduled.node("a")
    await scheduled.pod("unlucky")
    await scheduled.pod("lucky")
    assert await scheduled.bound("lucky") == "a"
    event = await scheduled.event("unlucky", "FailedScheduling")
    assert event.message == "a scheduler plugin failed: ZeroDivisionError: no ports"
    monkeypatch.undo()
    await scheduled.clock.advance(1.2)
    assert await scheduled.bound("unlucky") == "a"


async def test_pods_of_one_service_spread_though_one_node_is_much_larger(scheduled: Scheduled) -> None:
    for name, cpu in (("large", "64"), ("small", "8")):
        await scheduled.node(name, cpu=cpu, labels={"kubernetes.io/hostname": name})
    service = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    await scheduled.client.of(SERVICES).create_json(service)
    names = [f"web-{number}" for number in range(4)]
    for name in names:
        await scheduled.pod(name, cpu="1", labels={"app": "web"})
    assert {await scheduled.bound(name) for name in names} == {"large", "small"}
    for number in range(4):
        await scheduled.pod(f"other-{number}", cpu="1")
    assert {await scheduled.bound(f"other-{number}") for number in range(4)} == {"large"}
