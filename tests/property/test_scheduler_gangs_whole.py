"""Gangs on the model: all or none, whatever the order in which pods come, and never stuck half-way."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tiphys.kinds.core.node import Node
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.scheduling.podgroup import PodGroup
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.gang import Gang, Gangs
from tiphys.scheduler.gang_attempt import Refused, Room, attempt, make_room
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.preemption import Preemption
from tiphys.scheduler.profile import Profile

RACK = "example.com/rack"
PROFILES = {"default-scheduler": Profile()}
CPUS = st.sampled_from(["500m", "1", "2", "3"])
# By gang: what its members request, and how many of them have to be placed at once at least.
GANGS = st.lists(
    st.lists(CPUS, min_size=1, max_size=5).flatmap(
        lambda cpus: st.tuples(st.just(cpus), st.integers(1, len(cpus)), st.sampled_from([0, 0, 100]))
    ),
    min_size=1,
    max_size=4,
)
NODES = st.lists(st.sampled_from(["1", "2", "4"]), min_size=1, max_size=4)
Asked = tuple[list[str], int, int]


def cluster_of(cpus: list[str]) -> Cluster:
    """Its nodes stand in two racks by turns."""
    cluster = Cluster()
    for number, cpu in enumerate(cpus):
        room = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
        made: dict[str, Any] = {
            "metadata": {"name": f"n{number}", "labels": {RACK: f"r{number % 2}"}},
            "spec": {},
            "status": {"allocatable": room},
        }
        cluster.set_node(msgspec.convert(made, Node))
    return cluster


def member(gang: int, number: int, cpu: str, priority: int = 0) -> PodInfo:
    name = f"g{gang}-{number}"
    spec = {
        "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}],
        "schedulingGroup": {"podGroupName": f"g{gang}"}, "priority": priority,
    }  # fmt: skip
    return PodInfo(msgspec.convert({"metadata": {"name": name, "namespace": "d", "uid": name}, "spec": spec}, Pod))


def register(gangs: Gangs, asked: list[Asked], *, racked: bool = False) -> None:
    for number, (_, least, _) in enumerate(asked):
        policy: dict[str, Any] = {"schedulingPolicy": {"gang": {"minCount": least}}}
        if racked:
            policy["schedulingConstraints"] = {"topology": [{"key": RACK}]}
        made = msgspec.convert({"metadata": {"name": f"g{number}", "namespace": "d"}, "spec": policy}, PodGroup)
        gangs.set_group(None, made)


def try_(gang: Gang, gangs: Gangs, cluster: Cluster) -> bool:
    """One attempt, which leaves the model as it was if it fails; whether it placed the gang."""
    before = cluster.requested.copy()
    found = attempt(gang, cluster, PROFILES, {})
    if isinstance(found, Refused):
        assert np.array_equal(cluster.requested, before)
        return False
    for each in found:
        gangs.place(each.info.pod)
    return True


@settings(max_examples=150, deadline=None)
@given(nodes=NODES, asked=GANGS, data=st.data())
def test_gangs_are_placed_whole_or_not_at_all_and_every_one_in_the_end(
    nodes: list[str], asked: list[Asked], data: st.DataObject
) -> None:
    cluster, gangs = cluster_of(nodes), Gangs()
    register(gangs, asked)
    infos = [member(g, n, cpu) for g, (cpus, _, _) in enumerate(asked) for n, cpu in enumerate(cpus)]
    for info in data.draw(st.permutations(infos)):
        gang = gangs.add(info)
        assert gang is not None
        if gang.together and gang.complete:
            try_(gang, gangs, cluster)
        for each in gangs:
            assert not each.placed or len(each.placed) >= (each.min_count or 0)
            assert all(
                (cluster.placed(key) is not None) == (key in each.placed) for key in each.placed | set(each.pending)
            )
        assert (cluster.requested <= cluster.allocatable).all()
    # Those that were placed end; whoever fits an empty cluster gets its turn.
    hopeful = {gang.key for gang in gangs if not gang.placed and _fits_alone(gang, nodes)}
    while hopeful:
        for gang in list(gangs):
            for key in list(gang.placed):
                cluster.remove_pod(key)
        placed = {gang.key for gang in gangs if gang.key in hopeful and try_(gang, gangs, cluster)}
        assert placed
        hopeful -= placed


def _fits_alone(gang: Gang, nodes: list[str]) -> bool:
    return not isinstance(attempt(gang, cluster_of(nodes), PROFILES, {}), Refused)


@settings(max_examples=150, deadline=None)
@given(nodes=NODES, asked=GANGS)
def test_preemption_evicts_only_if_the_whole_gang_fits_afterwards(nodes: list[str], asked: list[Asked]) -> None:
    cluster, gangs = cluster_of(nodes), Gangs()
    register(gangs, asked)
    for number, (cpus, _, priority) in enumerate(asked):
        for index, cpu in enumerate(cpus):
            # Members need not be equally important.
            gangs.add(member(number, index, cpu, priority + index % 2))
    for gang in list(gangs):
        if try_(gang, gangs, cluster):
            continue
        before = cluster.requested.copy()
        room = make_room(gang, cluster, PROFILES, Preemption())
        assert np.array_equal(cluster.requested, before)
        if not isinstance(room, Room):
            continue
        assert room.victims
        for each in room.victims:
            assert each.info.priority < gang.priority
            assert gangs.of(each.info.key) is not gang
            cluster.remove_pod(each.info.key)
            gangs.leave(each.info.key)
        assert len(room.placements) >= gang.goal
        for each in room.placements:
            cluster.place(each.info, each.node)
            gangs.place(each.info.pod)
        assert (cluster.requested <= cluster.allocatable).all()


@settings(max_examples=150, deadline=None)
@given(nodes=NODES, asked=GANGS, data=st.data())
def test_a_gang_that_belongs_into_one_rack_is_never_in_two(
    nodes: list[str], asked: list[Asked], data: st.DataObject
) -> None:
    cluster, gangs = cluster_of(nodes), Gangs()
    register(gangs, asked, racked=True)
    racks = cluster.domains(RACK).ids
    infos = [member(g, n, cpu) for g, (cpus, _, _) in enumerate(asked) for n, cpu in enumerate(cpus)]
    for info in data.draw(st.permutations(infos)):
        gang = gangs.add(info)
        assert gang is not None
        assert gang.together
        if gang.complete:
            try_(gang, gangs, cluster)
        for each in gangs:
            rows = [cluster.placed_row(key) for key in each.placed]
            assert len({int(racks[row]) for row in rows if row is not None}) <= 1
            assert not each.placed or len(each.placed) >= (each.min_count or 0)
