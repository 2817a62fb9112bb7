"""Whatever comes and goes: all that a placed pod required held when it was placed, by the words of the documentation.

The rules here are written out pod by pod, as upstream's documentation tells them, with no arrays and nothing kept.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tiphys.kinds.core.node import Node
from tiphys.kinds.core.pod import Pod
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.pipeline import DEFAULT, Unschedulable, choose
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.preemption import Candidate, Preemption

NAMES = [f"n{number}" for number in range(5)]
APPS = ["web", "db"]
SPACES = {"default": {"team": "a"}, "blue": {"team": "b"}}
KEYS = st.sampled_from(["zone", "host"])
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def selecting(app: str) -> dict[str, Any]:
    return {"matchLabels": {"app": app}}


@st.composite
def terms(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = []
    for _ in range(draw(st.integers(0, 1))):
        term: dict[str, Any] = {"topologyKey": draw(KEYS), "labelSelector": selecting(draw(st.sampled_from(APPS)))}
        term |= draw(
            st.sampled_from([{}, {"namespaces": ["blue"]}, {"namespaceSelector": {"matchLabels": {"team": "b"}}}])
        )
        made.append(term)
    return made


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    app = draw(st.sampled_from(APPS))
    spread = [
        {
            "topologyKey": draw(KEYS), "maxSkew": draw(st.integers(1, 2)), "labelSelector": selecting(app),
            "whenUnsatisfiable": draw(st.sampled_from(["DoNotSchedule", "ScheduleAnyway"])),
            "minDomains": draw(st.sampled_from([None, 2])),
        }
        for _ in range(draw(st.integers(0, 1)))
    ]  # fmt: skip
    affinity = {"podAffinity": {REQUIRED: draw(terms())}, "podAntiAffinity": {REQUIRED: draw(terms())}}
    spec = {
        "containers": [{"name": "c", "resources": {"requests": {"cpu": draw(st.sampled_from(["100m", "1", "2"]))}}}],
        "affinity": affinity, "topologySpreadConstraints": spread, "priority": draw(st.sampled_from([0, 10])),
    }  # fmt: skip
    return {"app": app, "namespace": draw(st.sampled_from(list(SPACES))), "spec": spec}


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        for name, labels in SPACES.items():
            self.cluster.population.set_namespace(name, labels)
        self.nodes: dict[str, dict[str, str]] = {}
        self.where: dict[str, tuple[PodInfo, str]] = {}
        self.made = 0

    @rule(name=st.sampled_from(NAMES), zone=st.sampled_from(["a", "b", None]), cpu=st.sampled_from(["2", "4"]))
    def set_node(self, name: str, zone: str | None, cpu: str) -> None:
        """A node comes, or changes its zone; one that is known keeps its size."""
        labels = {"host": name} | ({"zone": zone} if zone else {})
        room = {"cpu": "4" if name in self.nodes else cpu, "pods": "4"}
        self.nodes[name] = labels
        manifest = {"metadata": {"name": name, "labels": labels}, "status": {"allocatable": room}}
        self.cluster.set_node(msgspec.convert(manifest, Node))

    @rule(name=st.sampled_from(NAMES))
    def remove_node(self, name: str) -> None:
        self.cluster.remove_node(name)
        self.nodes.pop(name, None)
        self.where = {key: value for key, value in self.where.items() if value[1] != name}

    @rule(data=st.data())
    def remove_pod(self, data: st.DataObject) -> None:
        if self.where:
            key = data.draw(st.sampled_from(sorted(self.where)))
            self.cluster.remove_pod(key)
            del self.where[key]

    @rule(drawn=specs())
    def schedule(self, drawn: dict[str, Any]) -> None:
        self.made += 1
        meta = {"name": f"p{self.made}", "namespace": drawn["namespace"], "uid": str(self.made)}
        meta["labels"] = {"app": drawn["app"]}
        info = PodInfo(msgspec.convert({"metadata": meta, "spec": drawn["spec"]}, Pod))
        found = choose(info, self.cluster)
        if isinstance(found, Unschedulable):
            legal = [name for name in self.nodes if self.allowed(info, name) and self.fits(info, name)]
            assert legal == [], f"{found}, but {legal} would do"
            self.preempt(info)
            return
        node = self.cluster.name(found)
        assert self.allowed(info, node)
        assert self.fits(info, node)
        self.place(info, node)

    def preempt(self, info: PodInfo) -> None:
        found = Preemption().find(info, self.cluster, DEFAULT)
        if not isinstance(found, Candidate):
            return
        node = self.cluster.name(found.row)
        assert all(victim.pod.spec.priority < info.pod.spec.priority for victim in found.victims)
        assert all(self.where[victim.key][1] == node for victim in found.victims)
        for victim in found.victims:
            self.cluster.remove_pod(victim.key)
            del self.where[victim.key]
        assert self.allowed(info, node), "the evictions make the node legal"
        assert self.fits(info, node)
        assert choose(info, self.cluster, promised=found.row) == found.row
        self.place(info, node)

    def place(self, info: PodInfo, node: str) -> None:
        self.cluster.place(info, node)
        self.where[info.key] = (info, node)

    def fits(self, info: PodInfo, node: str) -> bool:
        row = self.cluster.row(node)
        assert row is not None
        room = dict(zip(self.cluster.columns, self.cluster.allocatable[row], strict=True))
        here = [other for other, where in self.where.values() if where == node]
        return all(
            value + sum(other.requests.get(name, 0) for other in here) <= room[name]
            for name, value in info.requests.items()
        )

    def allowed(self, info: PodInfo, node: str) -> bool:
        return self.spread_holds(info, node) and self.affinity_holds(info, node) and self.nobody_objects(info, node)

    def spread_holds(self, info: PodInfo, node: str) -> bool:
        hard = [c for c in info.pod.spec.topology_spread_constraints if c.when_unsatisfiable == "DoNotSchedule"]
        for constraint in hard:
            key = constraint.topology_key
            if key not in self.nodes[node]:
                return False
            counts: dict[str, int] = {}
            for name, labels in self.nodes.items():
                if all(other.topology_key in labels for other in hard):
                    held = [
                        other for other, where in self.where.values()
                        if where == name and other.pod.metadata.namespace == info.pod.metadata.namespace
                        and selects(constraint.label_selector, other)
                    ]  # fmt: skip
                    counts[labels[key]] = counts.get(labels[key], 0) + len(held)
            least = min(counts.values()) if len(counts) >= (constraint.min_domains or 1) else 0
            own = int(selects(constraint.label_selector, info))
            if counts.get(self.nodes[node][key], 0) + own - least > constraint.max_skew:
                return False
        return True

    def affinity_holds(self, info: PodInfo, node: str) -> bool:
        affinity = info.pod.spec.affinity
        for term in affinity.pod_anti_affinity.required if affinity.pod_anti_affinity else ():
            if any(
                self.means(info, term, other) and self.together(term, where, node) for other, where in self.others()
            ):
                return False
        for term in affinity.pod_affinity.required if affinity.pod_affinity else ():
            if term.topology_key not in self.nodes[node]:
                return False
            known = [
                where for other, where in self.others()
                if self.means(info, term, other) and term.topology_key in self.nodes[where]
            ]  # fmt: skip
            first = not known and self.means(info, term, info)
            if not first and not any(self.together(term, where, node) for where in known):
                return False
        return True

    def nobody_objects(self, info: PodInfo, node: str) -> bool:
        for other, where in self.others():
            anti = other.pod.spec.affinity.pod_anti_affinity
            for term in anti.required if anti else ():
                if self.means(other, term, info) and self.together(term, where, node):
                    return False
        return True

    def others(self) -> list[tuple[PodInfo, str]]:
        return list(self.where.values())

    def together(self, term: Any, one: str, other: str) -> bool:
        value = self.nodes[one].get(term.topology_key)
        return value is not None and value == self.nodes[other].get(term.topology_key)

    def means(self, owner: PodInfo, term: Any, other: PodInfo) -> bool:
        space = other.pod.metadata.namespace
        if term.namespace_selector is not None:
            here = SPACES[space].items() >= term.namespace_selector.match_labels.items()
        else:
            here = space in (term.namespaces or [owner.pod.metadata.namespace])
        return here and selects(term.label_selector, other)

    @invariant()
    def what_is_kept_is_what_is(self) -> None:
        """Whatever was counted as things happened is what a cluster would count that is made anew."""
        fresh = Cluster()
        for name, labels in SPACES.items():
            fresh.population.set_namespace(name, labels)
        for _, node in self.cluster.nodes():
            fresh.set_node(node)
        for info, where in self.where.values():
            fresh.place(info, where)
        for info, _ in self.where.values():
            for term in info.terms:
                kept, counted = (each.population.census((term.who,)) for each in (self.cluster, fresh))
                for name in self.nodes:
                    assert kept[self.cluster.row(name) or 0] == counted[fresh.row(name) or 0]
            for each in (self.cluster, fresh):
                assert [matrix.sum() for _, matrix in each.tiers.below(99)] != [0]


def selects(selector: Any, info: PodInfo) -> bool:
    return bool(info.pod.metadata.labels.items() >= selector.match_labels.items())


TestConstraints = Machine.TestCase
TestConstraints.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
