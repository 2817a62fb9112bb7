"""`tiphys why` on unschedulable pods of many kinds: the real cause, and a change that, when made, places the pod."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from device_objects import claim_json, class_json, device, exactly, slice_json
from scheduler_objects import Json, container, node_json, pod_json

from tiphys.kinds.core.node import Node
from tiphys.kinds.core.pod import Pod
from tiphys.main.why import answer
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.config import API, KIND
from tiphys.scheduler.pipeline import choose
from tiphys.scheduler.pod import PodInfo

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


class World:
    """Nodes and pods as the API gives them; what a user does to them is done to the dicts."""

    url = "https://test"

    def __init__(self, pod: Json, nodes: list[Json], placed: dict[str, Json] | None = None, **more: list[Json]) -> None:
        self.pod, self.nodes, self.more = pod, {each["metadata"]["name"]: each for each in nodes}, more
        self.placed = {each["metadata"]["name"]: each for each in (placed or {}).values()}
        for where, each in (placed or {}).items():
            each["spec"]["nodeName"] = where.partition("#")[0]

    def call(self, method: str, path: str, **options: Any) -> bytes:
        """As the transport of the command line."""
        name = path.rpartition("/")[2]
        lists = {"nodes": list(self.nodes.values()), "pods": [self.pod, *self.placed.values()]}
        if name == self.pod["metadata"]["name"]:
            return msgspec.json.encode(self.pod)
        return msgspec.json.encode({"metadata": {}, "items": lists.get(name) or self.more.get(name) or []})

    def why(self) -> str:
        return "\n".join(answer(self, "default", self.pod["metadata"]["name"]))  # type: ignore[arg-type]

    def fits(self) -> bool:
        cluster = Cluster()
        for each in self.nodes.values():
            cluster.set_node(msgspec.convert(each, Node))
        for each in self.placed.values():
            cluster.place(PodInfo(msgspec.convert(each, Pod)), each["spec"]["nodeName"])
        return isinstance(choose(PodInfo(msgspec.convert(self.pod, Pod)), cluster), int)

    def label(self, name: str, **labels: str) -> None:
        self.nodes[name]["metadata"]["labels"] |= labels

    def spec(self, **more: Any) -> None:
        self.pod["spec"] |= more


def ports(number: int) -> list[Json]:
    return [{**container(), "ports": [{"containerPort": 1, "hostPort": number}]}]


def term(app: str, key: str = "zone") -> Json:
    return {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}


def affinity(side: str, app: str) -> Json:
    return {side: {REQUIRED: [term(app)]}}


def full() -> World:
    placed = {"w1": pod_json("big", cpu="4"), "w2#1": pod_json("mid", cpu="3"), "w2#2": pod_json("x", cpu="300m")}
    return World(pod_json("p", cpu="900m"), [node_json("w1"), node_json("w2")], placed)


def too_large() -> World:
    return World(pod_json("p", cpu="9"), [node_json("w1"), node_json("w2", cpu="6")])


def many_pods() -> World:
    return World(pod_json("p"), [node_json("w1", pods="1")], {"w1": pod_json("x")})


def cordoned() -> World:
    return World(pod_json("p"), [node_json("w1", unschedulable=True)])


def tainted() -> World:
    return World(pod_json("p"), [node_json("w1", taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}])])


def unlabelled() -> World:
    return World(pod_json("p", nodeSelector={"disk": "ssd"}), [node_json("w1", labels={"disk": "hdd"})])


def other_zone() -> World:
    rule = {"key": "zone", "operator": "In", "values": ["b"]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}
    return World(pod_json("p", affinity={"nodeAffinity": {REQUIRED: terms}}), [node_json("w1", labels={"zone": "a"})])


def port_taken() -> World:
    return World(pod_json("p", containers=ports(80)), [node_json("w1")], {"w1": pod_json("web", containers=ports(80))})


def crooked() -> World:
    constraint = {**term("web"), "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    pod = pod_json("p", labels={"app": "web"}, topologySpreadConstraints=[constraint])
    nodes = [node_json("w1", labels={"zone": "a"}), node_json("w2", labels={"zone": "b"}, pods="0")]
    return World(pod, nodes, {"w1": pod_json("x", labels={"app": "web"})})


def lonely() -> World:
    return World(pod_json("p", affinity=affinity("podAffinity", "db")), [node_json("w1", labels={"zone": "a"})])


def repelled() -> World:
    pod = pod_json("p", affinity=affinity("podAntiAffinity", "db"))
    return World(pod, [node_json("w1", labels={"zone": "a"})], {"w1": pod_json("x", labels={"app": "db"})})


def unwelcome() -> World:
    hermit = pod_json("hermit", affinity=affinity("podAntiAffinity", "web"))
    return World(pod_json("p", labels={"app": "web"}), [node_json("w1", labels={"zone": "a"})], {"w1": hermit})


def untaint(world: World) -> None:
    tolerations = [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    world.spec(tolerations=tolerations)


def loosen(world: World) -> None:
    world.pod["spec"]["topologySpreadConstraints"][0]["whenUnsatisfiable"] = "ScheduleAnyway"


CASES: dict[str, tuple[Callable[[], World], list[str], Callable[[World], Any]]] = {
    "resources": (
        full, ["2 Insufficient cpu", "Nearest: w2", "w2 lacks 200m CPU; evicting default/x would free it"],
        lambda world: world.placed.pop("x"),
    ),
    "size": (
        too_large, ["w2 has 6 CPU in all, the pod requests 9 CPU; requesting at most 6 CPU would do"],
        lambda world: world.spec(containers=[container(cpu="6")]),
    ),
    "number of pods": (
        many_pods, ["1 Too many pods", "w1 has its 1 pods already; evicting default/x would free it"],
        lambda world: world.placed.pop("x"),
    ),
    "cordon": (
        cordoned, ["1 node(s) were unschedulable", "w1 is cordoned; kubectl uncordon w1"],
        lambda world: world.nodes["w1"]["spec"].pop("unschedulable"),
    ),
    "taint": (
        tainted, ["w1 has the taint gpu=yes:NoSchedule; a toleration of gpu=yes:NoSchedule in the pod would do"],
        untaint,
    ),
    "node selector": (
        unlabelled, ["w1 is not labelled disk=ssd; kubectl label node w1 --overwrite disk=ssd"],
        lambda world: world.label("w1", disk="ssd"),
    ),
    "node affinity": (
        other_zone, ["w1 is not labelled zone=b; kubectl label node w1 --overwrite zone=b"],
        lambda world: world.label("w1", zone="b"),
    ),
    "host port": (
        port_taken, ["w1 has host port 80/TCP taken; evicting default/web would free it"],
        lambda world: world.placed.pop("web"),
    ),
    "spread": (
        crooked, ["w1 would have too many pods of the kind by zone (maxSkew 1); whenUnsatisfiable: ScheduleAnyway"],
        loosen,
    ),
    "affinity": (
        lonely, ["w1 has no pod with app in (db) in its zone; starting such a pod there"],
        lambda world: world.placed.update(db=pod_json("db", labels={"app": "db"}, nodeName="w1")),
    ),
    "anti-affinity": (
        repelled, ["anti-affinity keeps this one from; evicting default/x would free it"],
        lambda world: world.placed.pop("x"),
    ),
    "anti-affinity of another": (
        unwelcome,
        ["1 node(s) didn't satisfy existing pods anti-affinity rules", "evicting default/hermit would free it"],
        lambda world: world.placed.pop("hermit"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_cause_is_named_and_the_change_places_the_pod(name: str) -> None:
    make, expected, change = CASES[name]
    world = make()
    assert not world.fits()
    told = world.why()
    assert "0/" in told
    assert [text for text in expected if text not in told] == [], told
    change(world)
    assert world.fits()
    assert "pod default/p fits on w" in world.why()


def test_several_obstacles_of_one_node_are_all_named() -> None:
    world = World(pod_json("p", nodeSelector={"disk": "ssd"}), [node_json("w1", unschedulable=True)])
    told = world.why()
    assert "w1 is cordoned" in told
    assert "kubectl label node w1 --overwrite disk=ssd" in told


def test_without_nodes() -> None:
    assert "no nodes available to schedule pods" in World(pod_json("p"), []).why()


def test_gates() -> None:
    told = World(pod_json("p", schedulingGates=[{"name": "acme.com/wait"}]), [node_json("w1")]).why()
    assert told.startswith("pod default/p is held by its scheduling gates: acme.com/wait")


def test_another_scheduler() -> None:
    told = World(pod_json("p", schedulerName="mine"), [node_json("w1")]).why()
    assert 'waits for the scheduler "mine"' in told


def test_a_pod_that_has_a_node() -> None:
    assert "has a node: w1" in World(pod_json("p", nodeName="w1"), [node_json("w1")]).why()


def test_what_preemption_would_do() -> None:
    world = World(pod_json("p", cpu="4", priority=9), [node_json("w1")], {"w1": pod_json("x", cpu="4")})
    assert "preemption makes room on w1 by evicting default/x" in world.why()


def test_the_schedulers_own_file_counts(tmp_path: Path) -> None:
    world = cordoned()
    plugins = {"filter": {"disabled": [{"name": "NodeUnschedulable"}]}}
    head = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
    file = tmp_path / "scheduler.yaml"
    assert "cordoned" in "\n".join(answer(world, "default", "p", file))  # type: ignore[arg-type]
    file.write_text(yaml.safe_dump({**head, "profiles": [{"plugins": plugins}]}))
    assert "fits on w1" in "\n".join(answer(world, "default", "p", file))  # type: ignore[arg-type]


def _member(name: str) -> Json:
    return pod_json(name, cpu="3", schedulingGroup={"podGroupName": "g"})


def _group(least: int) -> Json:
    return {
        "metadata": {"name": "g", "namespace": "default"},
        "spec": {"schedulingPolicy": {"gang": {"minCount": least}}},
    }


def test_a_member_of_a_group_that_is_not_there_in_whole_waits_for_the_others() -> None:
    world = World(_member("p"), [node_json("w1")], podgroups=[_group(2)])
    assert world.why().endswith("all at once: it is waiting for 1 more pods of group default/g")


def test_why_of_a_member_names_the_one_that_does_not_fit_and_what_would_help() -> None:
    world = World(_member("p"), [node_json("w1"), node_json("w2")], podgroups=[_group(3)])
    world.placed = {name: _member(name) for name in ("q", "r")}
    said = world.why()
    refusal = "0/2 nodes are available: 2 Insufficient cpu."
    assert f"all at once: 2 of 3 pods of the group found a place, default/r did not: {refusal}" in said
    assert "pod default/r has no node" in said
    assert "Nearest: w" in said


def test_why_of_a_member_of_a_group_that_fits() -> None:
    world = World(_member("p"), [node_json("w1")], podgroups=[_group(1)])
    assert "all fit: the next attempt places them" in world.why()


def with_devices(*claims: Json, devices: int = 1, **more: list[Json]) -> World:
    """A node with so many devices, and a pod that uses the claim `mine`."""
    for claim in claims:
        claim["metadata"]["uid"] = claim["metadata"]["name"]
    lists = {
        "resourceclaims": list(claims), "deviceclasses": [class_json()],
        "resourceslices": [slice_json("w1", [device(f"gpu{n}") for n in range(devices)])] if devices else [],
    }  # fmt: skip
    pod = pod_json("p", resourceClaims=[{"name": "c", "resourceClaimName": "mine"}])
    return World(pod, [node_json("w1")], **{**lists, **more})


def allocated(name: str, user: str, node: str = "w1") -> Json:
    only = {"key": "metadata.name", "operator": "In", "values": [node]}
    result = {"request": "r", "driver": "gpu.example.com", "pool": node, "device": "gpu0"}
    selector = {"nodeSelectorTerms": [{"matchFields": [only]}]}
    status = {
        "allocation": {"devices": {"results": [result]}, "nodeSelector": selector},
        "reservedFor": [{"resource": "pods", "name": user, "uid": user}],
    }  # fmt: skip
    return {**claim_json(name), "status": status}


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        (with_devices(), "Smallest change: a ResourceClaim mine in the namespace default"),
        (with_devices(claim_json("mine"), deviceclasses=[]), "Smallest change: a DeviceClass gpu"),
        (with_devices(claim_json("mine"), devices=0), "w1 has no devices, request r asks for 1 device of class gpu"),
        (
            with_devices(claim_json("mine", exactly("r", "false"))),
            "w1 has 0 that would do, request r asks for 1 device of class gpu; selectors or tolerations",
        ),
        (
            with_devices(allocated("other", "trainer"), claim_json("mine")),
            "w1 has 1 of 1 device of class gpu in use; the end of default/trainer would free one",
        ),
        (
            with_devices(allocated("mine", "trainer", node="w2")),
            "w1 does not reach the devices that claim default/mine has got; a claim of its own, or the end of the pods",
        ),
        (with_devices(claim_json("mine")), "pod default/p fits on w1"),
    ],
)
def test_what_keeps_a_pod_from_its_devices(world: World, expected: str) -> None:
    assert expected in world.why()


def test_a_pod_that_would_fit_waits_for_its_turn(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.yaml"
    fair = {"queueSort": {"enabled": [{"name": "DominantResourceFairness"}]}}
    file.write_text(yaml.safe_dump({"apiVersion": API, "kind": KIND, "profiles": [{"plugins": fair}]}))
    running, rival = pod_json("mine", cpu="2"), pod_json("theirs", namespace="other")
    world = World(pod_json("p", cpu="1"), [node_json("w1")], {"w1": running})
    world.placed["theirs"] = rival
    said = "\n".join(answer(world, "default", "p", file))  # type: ignore[arg-type]
    assert said == (
        "pod default/p fits on w1 and waits for its turn: its queue default has 50% of cpu; "
        "before it come 1 of queue other (nothing)"
    )
