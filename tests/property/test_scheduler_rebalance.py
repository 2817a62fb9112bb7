"""A plan to move pods: violations never grow, nobody is overfull who was not, and the plan comes to an end."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tiphys.kinds.core.node import Node
from tiphys.kinds.core.pod import Pod
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.movable import immovable
from tiphys.scheduler.packing import pack
from tiphys.scheduler.pipeline import DEFAULT, Unschedulable, choose
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.rebalance import MARGIN, Model, as_new, plan, violates

Json = dict[str, Any]
ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
APPS = ("web", "db")
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
TAINT = {"key": "k", "value": "v", "effect": "NoSchedule"}


@st.composite
def nodes(draw: st.DrawFn) -> list[Json]:
    made = []
    for number in range(draw(st.integers(1, 5))):
        zone = draw(st.sampled_from(["a", "b"]))
        spec = {
            "taints": [TAINT] if draw(st.integers(0, 4)) == 0 else [],
            "unschedulable": draw(st.integers(0, 6)) == 0,
        }
        room = {"cpu": draw(st.sampled_from(["2", "4"])), "memory": "8Gi", "pods": "20"}
        meta = {"name": f"n{number}", "labels": {ZONE: zone, HOST: f"n{number}"}}
        made.append({"metadata": meta, "spec": spec, "status": {"allocatable": room}})
    return made


def _term(app: str, key: str) -> Json:
    return {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}


@st.composite
def pods(draw: st.DrawFn) -> Json:
    """The spec and the labels of a pod with some constraint, perhaps."""
    app, other = draw(st.sampled_from(APPS)), draw(st.sampled_from(APPS))
    key = draw(st.sampled_from([ZONE, HOST]))
    kind = draw(st.sampled_from(["none", "none", "spread", "soft", "anti", "affinity", "tolerant"]))
    when = "DoNotSchedule" if kind == "spread" else "ScheduleAnyway"
    constraint = {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": when,
        "labelSelector": {"matchLabels": {"app": app}},
    }
    more: Json = {
        "none": {}, "spread": {"topologySpreadConstraints": [constraint]},
        "soft": {"topologySpreadConstraints": [constraint]},
        "anti": {"affinity": {"podAntiAffinity": {REQUIRED: [_term(other, key)]}}},
        "affinity": {"affinity": {"podAffinity": {REQUIRED: [_term(other, key)]}}},
        "tolerant": {"tolerations": [{"operator": "Exists"}]},
    }[kind]  # fmt: skip
    cpu = draw(st.sampled_from(["250m", "500m", "1"]))
    containers = [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]
    return {"labels": {"app": app}, "spec": {"containers": containers, **more}, "on": draw(st.integers(0, 4)),
            "movable": draw(st.integers(0, 5)) > 0}  # fmt: skip


def world(made: list[Json], given_: list[Json]) -> Model:
    cluster = Cluster()
    for each in made:
        cluster.set_node(msgspec.convert(each, Node))
    fixed = set()
    for number, each in enumerate(given_):
        where = made[each["on"] % len(made)]["metadata"]["name"]
        owner = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": "o",
            "uid": each["labels"]["app"],
            "controller": True,
        }
        meta = {
            "name": f"p{number}",
            "namespace": "d",
            "uid": str(number),
            "labels": each["labels"],
            "ownerReferences": [owner],
        }
        info = PodInfo(msgspec.convert({"metadata": meta, "spec": {**each["spec"], "nodeName": where}}, Pod))
        cluster.place(info, where)
        if not each["movable"]:
            fixed.add(info.key)
    return Model(cluster, lambda info: DEFAULT, lambda info: info.key not in fixed)


def violations(model: Model) -> set[str]:
    cluster = model.cluster
    return {info.key for row, _ in cluster.nodes() for info in cluster.pods(row) if violates(info, cluster, DEFAULT)}


def overfull(cluster: Cluster) -> set[int]:
    return {row for row, _ in cluster.nodes() if (cluster.requested[row] > cluster.allocatable[row]).any()}


@settings(max_examples=150, deadline=None)
@given(made=nodes(), asked=st.lists(pods(), max_size=12))
def test_violations_never_grow_and_every_move_is_what_the_scheduler_would_do(
    made: list[Json], asked: list[Json]
) -> None:
    model = world(made, asked)
    known, full = violations(model), overfull(model.cluster)
    seen: set[str] = set()
    for move in plan(model, 1000):
        assert model.movable(move.info)
        assert move.info.key not in seen
        seen.add(move.info.key)
        assert move.violated or move.gain >= MARGIN
        row = model.cluster.placed_row(move.info.key)
        assert row is not None
        assert model.cluster.name(row) == move.target != move.source
        now = violations(model)
        assert len(now) <= len(known)
        assert not move.violated or move.info.key not in now
        known = now
        assert overfull(model.cluster) <= full
        full = overfull(model.cluster)


@settings(max_examples=100, deadline=None)
@given(made=nodes(), asked=st.lists(pods(), max_size=12))
def test_packing_moves_all_or_nothing_of_a_node_and_violates_nothing(made: list[Json], asked: list[Json]) -> None:
    model = world(made, asked)
    known, before = violations(model), {row: len(model.cluster.pods(row)) for row, _ in model.cluster.nodes()}
    packing = pack(model, 1000)
    for name in packing.nodes:
        row = model.cluster.row(name)
        assert row is not None
        assert before[row]
        assert not model.cluster.pods(row)
    assert {move.source for move in packing.moves.values()} == set(packing.nodes)
    assert not {move.target for move in packing.moves.values()} & set(packing.nodes)
    assert len(violations(model)) <= len(known)


def test_a_move_is_where_the_scheduler_puts_the_new_pod() -> None:
    made = [
        {
            "metadata": {"name": name, "labels": {HOST: name}},
            "spec": {},
            "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "20"}},
        }
        for name in ("n0", "n1")
    ]
    shape = {
        "labels": {"app": "web"},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
        "on": 0,
        "movable": True,
    }
    model = world(made, [shape] * 4)
    moves = list(plan(model, 100))
    assert [(move.source, move.target) for move in moves] == [("n0", "n1")] * 2
    first = moves[0].info
    model.cluster.remove_pod(first.key)
    found = choose(as_new(first), model.cluster)
    assert not isinstance(found, Unschedulable)
    assert model.cluster.name(found) == "n1"
    assert immovable(first, follows_volumes=True) == "is not ready, or is going already"
