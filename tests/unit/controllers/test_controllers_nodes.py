"""Nodes that fall silent, what becomes of their pods, and the ranges that nodes get."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from tiphys.api.meta import ObjectMeta
from tiphys.api.time import rfc3339, rfc3339_micro
from tiphys.controllers import node_ipam, zones
from tiphys.controllers.node_ipam import NodeIpam
from tiphys.controllers.node_lifecycle import NodeLifecycleController
from tiphys.controllers.pod_gc import PodGarbageCollector, surplus
from tiphys.controllers.taint_eviction import TaintEvictionController
from tiphys.controllers.taints import borne_until, wanted_taints
from tiphys.kinds.coordination.lease import LEASES
from tiphys.kinds.core.affinity import Toleration
from tiphys.kinds.core.node import NODES, Node, NodeCondition, NodeSpec, NodeStatus, Taint
from tiphys.kinds.core.pod import PODS, Pod, PodStatus

NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
CORDONED = ("node.kubernetes.io/unschedulable", "NoSchedule")


def node(name: str, ready: str | None = "True", zone: str = "", **spec: Any) -> Node:
    conditions = [NodeCondition("Ready", ready)] if ready else []
    meta = ObjectMeta(name=name, labels={zones.ZONE: zone})
    return Node(metadata=meta, spec=NodeSpec(**spec), status=NodeStatus(conditions=conditions))


class TestTaints:
    def keys(self, of: Node, evict: bool | None = True) -> list[tuple[str, str]]:
        return [(taint.key, taint.effect) for taint in wanted_taints(of, evict=evict, now=0)]

    def test_by_condition(self) -> None:
        assert self.keys(node("a")) == []
        assert self.keys(node("a", "False")) == [(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]
        assert self.keys(node("a", "Unknown"), evict=False) == [(UNREACHABLE, "NoSchedule")]
        assert self.keys(node("a", unschedulable=True)) == [("node.kubernetes.io/unschedulable", "NoSchedule")]

    def test_those_of_users_stay(self) -> None:
        mine = [Taint("mine", "NoExecute"), Taint(UNREACHABLE, "NoExecute", time_added="t")]
        assert self.keys(node("a", taints=mine)) == [("mine", "NoExecute")]

    def test_what_is_not_decided_stays_as_it_is(self) -> None:
        held = [Taint(UNREACHABLE, "NoExecute", time_added="t")]
        assert (UNREACHABLE, "NoExecute") in self.keys(node("a", "Unknown", taints=held), evict=None)
        assert (UNREACHABLE, "NoExecute") not in self.keys(node("a", "Unknown"), evict=None)

    def test_a_new_node_keeps_the_taint_of_its_registration(self) -> None:
        assert self.keys(node("a", None, taints=[Taint(NOT_READY, "NoSchedule")])) == [(NOT_READY, "NoSchedule")]

    @pytest.mark.parametrize(
        ("tolerations", "expected"),
        [
            ([], 0.0),
            ([Toleration("k", "Exists")], None),
            ([Toleration("k", "Exists", toleration_seconds=30)], 130.0),
            ([Toleration("k", "Equal", "v", toleration_seconds=9), Toleration(operator="Exists")], 109.0),
            ([Toleration("k", "Equal", "other")], 0.0),
        ],
    )
    def test_how_long_they_are_borne(self, tolerations: list[Toleration], expected: float | None) -> None:
        assert borne_until([Taint("k", "NoExecute", "v")], tolerations, lambda taint: 100.0) == expected


class TestZones:
    def test_no_eviction_when_everything_is_lost(self) -> None:
        assert zones.intervals([node("a", "Unknown"), node("b", "Unknown")], zones.Pace()) is None

    def test_a_zone_mostly_lost_is_left_alone(self) -> None:
        nodes = [node(str(i), "Unknown" if i < 3 else "True", "z") for i in range(4)] + [node("x", zone="y")]
        assert zones.intervals(nodes, zones.Pace(1, 100)) == {"/z": None, "/y": 1}

    def test_one_of_two_is_emptied(self) -> None:
        assert zones.intervals([node("a", "Unknown"), node("b")], zones.Pace(1, 100)) == {"/": 1}


def test_oldest_finished_pods_are_surplus() -> None:
    pods = [Pod(metadata=ObjectMeta(name=n, creation_timestamp=n), status=PodStatus(phase="Failed")) for n in "cab"]
    assert [pod.metadata.name for pod in surplus(pods, 1)] == ["a", "b"]


def test_ranges_differ_until_none_is_left() -> None:
    network = ipaddress.ip_network("10.0.0.0/23")
    assert node_ipam.plan({"10.0.0.0/24"}, network, 24) == "10.0.1.0/24"
    assert node_ipam.plan({"10.0.0.0/24", "10.0.1.0/24"}, network, 24) is None


async def test_every_node_gets_a_range_of_its_own(cluster: Any) -> None:
    cluster.start(NodeIpam, ipaddress.ip_network("10.42.0.0/16"))
    for number in range(20):
        await cluster.add_node(f"n{number}")

    async def all_given() -> Any:
        found = [each.spec.pod_cidr for each in await cluster.list(NODES)]
        return found if all(found) else None

    assert len(set(await cluster.until(all_given))) == 20


class Kubelet:
    """Registers a node and renews its lease when asked to."""

    def __init__(self, cluster: Any, name: str) -> None:
        self.cluster, self.name = cluster, name

    async def register(self) -> None:
        spec = {"holderIdentity": self.name, "leaseDurationSeconds": 12, "renewTime": self.now()}
        lease = {"metadata": {"name": self.name, "namespace": "kube-node-lease"}, "spec": spec}
        await self.cluster.add_node(self.name)
        await self.report()
        await self.cluster.create(LEASES, lease)

    def now(self) -> str:
        return rfc3339_micro(self.cluster.clock.time())

    async def renew(self) -> None:
        await self.cluster.patch(LEASES, self.name, {"spec": {"renewTime": self.now()}}, "kube-node-lease")

    async def report(self) -> None:
        stamp = rfc3339(self.cluster.clock.time())
        condition = {"type": "Ready", "status": "True", "lastHeartbeatTime": stamp, "lastTransitionTime": stamp}
        patch = {"status": {"conditions": [condition]}}
        await self.cluster.patch(NODES, self.name, patch, kind="strategic", subresource="status")

    async def cordon(self) -> None:
        await self.cluster.patch(NODES, self.name, {"spec": {"unschedulable": True}})

    async def shows(self, status: str, *taints: tuple[str, str]) -> None:
        async def check() -> bool:
            whole = await self.cluster.client.of(NODES).get(self.name)
            held = {(taint.key, taint.effect) for taint in whole.spec.taints}
            return whole.condition("Ready").status == status and held == set(taints)

        await self.cluster.until(check, f"node {self.name} {status} with {taints}")


async def pod_on(cluster: Any, name: str, node_name: str, **spec: Any) -> None:
    body = {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}
    await cluster.create(PODS, body)
    await cluster.bind(name, node_name)
    await cluster.make_ready(name)


async def test_a_silent_node_is_marked_tainted_and_emptied(cluster: Any) -> None:
    cluster.start(NodeLifecycleController)
    cluster.start(TaintEvictionController)
    lost, alive = Kubelet(cluster, "lost"), Kubelet(cluster, "alive")
    await lost.register()
    await alive.register()
    bear = [{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}]
    await pod_on(cluster, "p", "lost", tolerations=bear)
    for _ in range(3):
        await cluster.clock.advance(4)
        await alive.renew()
    await cluster.clock.advance(1)
    await lost.shows("Unknown", (UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute"))
    await alive.shows("True")

    async def not_ready() -> bool:
        found = (await cluster.list(PODS, "default"))[0]
        return not found.ready and not found.deleted

    await cluster.until(not_ready)
    for _ in range(8):
        await cluster.clock.advance(4)
        await alive.renew()

    async def evicted() -> Any:
        (found,) = await cluster.list(PODS, "default")
        return found.deleted and found.status.condition("DisruptionTarget")

    assert (await cluster.until(evicted)).reason == "DeletionByTaintManager"
    await lost.renew()
    await lost.report()
    await lost.shows("True")


async def test_when_all_are_silent_nothing_is_evicted(cluster: Any) -> None:
    cluster.start(NodeLifecycleController)
    only = Kubelet(cluster, "only")
    await only.register()
    await cluster.clock.advance(15)
    await only.shows("Unknown", (UNREACHABLE, "NoSchedule"))


async def test_a_controller_that_starts_gives_every_node_its_whole_time(cluster: Any) -> None:
    only = Kubelet(cluster, "only")
    await only.register()
    await only.cordon()
    await cluster.clock.advance(600)
    cluster.start(NodeLifecycleController)
    await only.shows("True", CORDONED)
    await cluster.clock.advance(10)
    await only.shows("True", CORDONED)
    await cluster.clock.advance(3)
    await only.shows("Unknown", CORDONED, (UNREACHABLE, "NoSchedule"))


async def test_a_controller_that_was_held_up_blames_no_node(cluster: Any) -> None:
    cluster.start(NodeLifecycleController)
    only = Kubelet(cluster, "only")
    await only.register()
    await only.cordon()
    await only.shows("True", CORDONED)
    # The process stood still: no timer fires in between.
    cluster.clock._now += 60
    await cluster.clock.advance(1)
    await only.shows("True", CORDONED)
    await cluster.clock.advance(13)
    await only.shows("Unknown", CORDONED, (UNREACHABLE, "NoSchedule"))


async def test_users_taints_evict_at_once_or_later(cluster: Any) -> None:
    cluster.start(TaintEvictionController)
    await cluster.add_node("n1")
    bear = {"key": "k", "operator": "Exists", "effect": "NoExecute"}
    await pod_on(cluster, "none", "n1")
    await pod_on(cluster, "some", "n1", tolerations=[{**bear, "tolerationSeconds": 60}])
    await pod_on(cluster, "all", "n1", tolerations=[bear])
    await cluster.patch(NODES, "n1", {"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}})

    def going(*names: str) -> Any:
        async def check() -> bool:
            return {pod.metadata.name for pod in await cluster.list(PODS, "default") if pod.deleted} == set(names)

        return check

    await cluster.until(going("none"))
    await cluster.clock.advance(50)
    assert await going("none")()
    await cluster.clock.advance(11)
    await cluster.until(going("none", "some"))


async def test_pods_of_a_node_that_went_are_ended(cluster: Any) -> None:
    cluster.start(PodGarbageCollector)
    await cluster.add_node("n1")
    await pod_on(cluster, "p", "n1")
    await cluster.delete(NODES, "n1")
    await cluster.clock.advance(30)
    assert await cluster.get(PODS, "p") is not None
    await cluster.clock.advance(11)
    await cluster.gone(PODS, "p")


async def test_pods_going_on_a_node_out_of_service_are_ended(cluster: Any) -> None:
    cluster.start(PodGarbageCollector)
    silent, alive = Kubelet(cluster, "silent"), Kubelet(cluster, "alive")
    for kubelet in (silent, alive):
        await kubelet.register()
        await pod_on(cluster, f"on-{kubelet.name}", kubelet.name)
        await cluster.delete(PODS, f"on-{kubelet.name}")
    await pod_on(cluster, "wanted", "silent")
    lost = {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
    await cluster.patch(NODES, "silent", lost, kind="strategic", subresource="status")
    gone = {"spec": {"taints": [{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]}}
    await cluster.patch(NODES, "alive", gone)
    await cluster.patch(NODES, "silent", gone)
    await cluster.gone(PODS, "on-silent")
    # The kubelet of a node that is Ready ends its pods itself, and what nobody deleted is not the collector's.
    assert {pod.metadata.name for pod in await cluster.list(PODS, "default")} == {"on-alive", "wanted"}
