"""Whatever comes and goes, in whatever order: no node is overfull, no port is given twice, nothing is forgotten."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tiphys.kinds.core.node import Node
from tiphys.kinds.core.pod import Pod
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.pipeline import Unschedulable, choose
from tiphys.scheduler.pod import PodInfo

GPU = "x.io/gpu"
NAMES = st.sampled_from([f"n{number}" for number in range(6)])
AMOUNTS = st.fixed_dictionaries(
    {}, optional={"cpu": st.sampled_from(["0", "250m", "1", "3"]), "memory": st.sampled_from(["64Mi", "1Gi"]),
                  GPU: st.sampled_from(["1", "2"])},
)  # fmt: skip
PORTS = st.lists(
    st.fixed_dictionaries(
        {"containerPort": st.just(1), "hostPort": st.sampled_from([0, 80, 81])},
        optional={"hostIP": st.sampled_from(["10.0.0.1", "10.0.0.2"]), "protocol": st.sampled_from(["TCP", "UDP"])},
    ),
    max_size=1,
)


@st.composite
def pods(draw: st.DrawFn) -> dict[str, Any]:
    """The spec of a pod with containers, perhaps with init containers, of which some are sidecars."""

    def container(name: str) -> dict[str, Any]:
        return {"name": name, "resources": {"requests": draw(AMOUNTS)}, "ports": draw(PORTS)}

    init = [{**container(f"i{n}"), **draw(st.sampled_from([{}, {"restartPolicy": "Always"}]))} for n in range(
        draw(st.integers(0, 2)))]  # fmt: skip
    return {"containers": [container("c")], "initContainers": init}


class Machine(RuleBasedStateMachine):
    """A scheduler without a server; `where` tells what it decided, `known` which nodes there are."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.where: dict[str, tuple[PodInfo, str]] = {}
        self.known: set[str] = set()
        self.made = 0

    @rule(name=NAMES, cpu=st.sampled_from(["1", "4"]), gpus=st.sampled_from([None, "2"]), most=st.integers(0, 4))
    def add_node(self, name: str, cpu: str, gpus: str | None, most: int) -> None:
        if name in self.known:
            return
        room = {"cpu": cpu, "memory": "2Gi", "pods": str(most)} | ({GPU: gpus} if gpus else {})
        self.cluster.set_node(
            msgspec.convert({"metadata": {"name": name}, "spec": {}, "status": {"allocatable": room}}, Node)
        )
        self.known.add(name)

    @rule(name=NAMES)
    def remove_node(self, name: str) -> None:
        gone = {info.key for info in self.cluster.remove_node(name)}
        assert gone == {key for key, (_, node) in self.where.items() if node == name}
        self.where = {key: value for key, value in self.where.items() if key not in gone}
        self.known.discard(name)

    @rule(spec=pods())
    def schedule(self, spec: dict[str, Any]) -> None:
        self.made += 1
        meta = {"name": f"p{self.made}", "namespace": "default", "uid": str(self.made)}
        info = PodInfo(msgspec.convert({"metadata": meta, "spec": spec}, Pod))
        found = choose(info, self.cluster)
        if isinstance(found, Unschedulable):
            assert sum(found.reasons.values()) >= len(self.known)
            return
        name = self.cluster.name(found)
        assert self.cluster.place(info, name)
        self.where[info.key] = (info, name)

    @rule(data=st.data())
    def remove_pod(self, data: st.DataObject) -> None:
        if self.where:
            key = data.draw(st.sampled_from(sorted(self.where)))
            assert self.cluster.remove_pod(key)
            del self.where[key]

    @invariant()
    def no_node_is_overfull(self) -> None:
        assert (self.cluster.requested <= self.cluster.allocatable).all()
        assert (self.cluster.requested >= 0).all()

    @invariant()
    def what_is_counted_is_what_was_decided(self) -> None:
        totals: dict[tuple[str, str], int] = {}
        for info, name in self.where.values():
            for resource, value in info.requests.items():
                totals[name, resource] = totals.get((name, resource), 0) + value
        for row, node in self.cluster.nodes():
            for resource, column in self.cluster.columns.items():
                assert self.cluster.requested[row, column] == totals.get((node.metadata.name, resource), 0)
        assert self.cluster.scored.sum() == sum(sum(info.scored) for info, _ in self.where.values())

    @invariant()
    def no_port_is_given_twice(self) -> None:
        for name in self.known:
            here = [(info.key, port) for info, node in self.where.values() if node == name for port in info.ports]
            for index, (key, (address, *rest)) in enumerate(here):
                for other_key, (other, *other_rest) in here[index + 1 :]:
                    same = rest == other_rest and (address == other or "0.0.0.0" in (address, other))
                    assert key == other_key or not same


TestNeverOvercommits = Machine.TestCase
TestNeverOvercommits.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
