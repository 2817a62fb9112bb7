"""`tiphys why` on a real cluster: the cause it names is the cause, and the change it names places the pod."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from conformance.workloads import Kind, template, unique

pytestmark = pytest.mark.root

DONGLES = "why.tiphys.test/dongle"
LABELS = {"app": "why"}
ANTI = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
    {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": LABELS}}]}}  # fmt: skip


class World:
    def __init__(self, cluster: Any, rest: Any, namespace: str) -> None:
        self.cluster, self.rest, self.namespace = cluster, rest, namespace
        self.pods = Kind(rest, "v1", "pods", namespace)
        self.node: str = rest.ok("GET", "/api/v1/nodes")["items"][0]["metadata"]["name"]

    def make(self, name: str, labels: dict[str, str] | None = None, **spec: Any) -> None:
        self.pods.create(name, template(**spec)["spec"], labels=labels or {})

    def why(self, name: str = "p") -> str:
        told: str = self.cluster.tiphys("why", f"pod/{name}", "-n", self.namespace, "--cluster", self.cluster.name)
        return told

    def refused(self) -> None:
        def said(answer: Any) -> bool:
            return any(c["reason"] == "Unschedulable" for c in answer.body["status"].get("conditions", ()))

        self.rest.until(f"{self.pods.path}/p", said)

    def bound(self, name: str = "p") -> None:
        self.rest.until(f"{self.pods.path}/{name}", lambda answer: "nodeName" in answer.body["spec"], 40)

    def patch_node(self, patch: dict[str, Any], part: str = "") -> None:
        self.rest.merge(f"/api/v1/nodes/{self.node}{part}", patch)

    def run(self, command: str) -> None:
        """A kubectl command that was told."""
        self.cluster.kubectl(*command.split()[1:])


@pytest.fixture
def world(cluster, rest, namespace) -> Iterator[World]:
    made = World(cluster, rest, namespace)
    room = {"status": {"capacity": {DONGLES: "4"}, "allocatable": {DONGLES: "4"}}}
    made.patch_node(room, "/status")
    yield made
    made.patch_node({"spec": {"unschedulable": None}})
    made.patch_node({"status": {"capacity": {DONGLES: None}, "allocatable": {DONGLES: None}}}, "/status")


def holding(count: int) -> dict[str, Any]:
    amounts = {DONGLES: str(count)}
    return {"container": {"resources": {"requests": amounts, "limits": amounts}}}


def port(number: int) -> dict[str, Any]:
    return {"container": {"ports": [{"containerPort": 80, "hostPort": number}]}}


def full(world: World) -> None:
    world.make("holder", **holding(3))
    world.bound("holder")
    world.make("p", **holding(2))


def taken(world: World) -> None:
    world.make("holder", **port(54777))
    world.bound("holder")
    world.make("p", **port(54777))


def repelled(world: World) -> None:
    world.make("holder", LABELS)
    world.bound("holder")
    world.make("p", affinity=ANTI)


def cordoned(world: World) -> None:
    world.patch_node({"spec": {"unschedulable": True}})
    world.make("p")


def unlabelled(world: World) -> None:
    world.make("p", nodeSelector={unique("disk"): "ssd"})


def evict(world: World, told: str) -> None:
    found = re.search(r"evicting (\S+)/(\S+) would free it", told)
    assert found is not None, told
    assert found[1] == world.namespace
    world.pods.delete(found[2])


def obey(world: World, told: str) -> None:
    found = re.search(r"kubectl (?:uncordon|label) .*", told)
    assert found is not None, told
    world.run(found[0])


@pytest.mark.parametrize(
    ("make", "reason", "change"),
    [
        (full, f"Insufficient {DONGLES}", evict),
        (taken, "didn't have free ports", evict),
        (repelled, "didn't match pod anti-affinity rules", evict),
        (cordoned, "were unschedulable", obey),
        (unlabelled, "didn't match Pod's node affinity/selector", obey),
    ],
)
def test_the_change_that_is_named_places_the_pod(
    world: World, make: Callable[[World], None], reason: str, change: Callable[[World, str], None]
) -> None:
    make(world)
    world.refused()
    told = world.why()
    assert reason in told
    change(world, told)
    world.bound()
    assert f"has a node: {world.node}" in world.why()


def test_gates_hold_a_pod(world: World) -> None:
    world.make("p", schedulingGates=[{"name": "example.com/wait"}])
    assert "held by its scheduling gates: example.com/wait" in world.why()
    world.pods.merge("p", {"spec": {"schedulingGates": []}})
    world.bound()
