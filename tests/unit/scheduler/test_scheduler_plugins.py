"""Every default plugin against upstream's documented behaviour."""

from __future__ import annotations

from typing import Any

import pytest
from scheduler_objects import Json, cluster, container, info, names, node

from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.plugins.node_affinity import NodeAffinity
from tiphys.scheduler.plugins.node_name import NodeName
from tiphys.scheduler.plugins.node_ports import NodePorts
from tiphys.scheduler.plugins.node_resources_balanced_allocation import NodeResourcesBalancedAllocation
from tiphys.scheduler.plugins.node_resources_fit import NodeResourcesFit
from tiphys.scheduler.plugins.node_unschedulable import NodeUnschedulable
from tiphys.scheduler.plugins.taint_toleration import TaintToleration
from tiphys.scheduler.pod import PodInfo


def passes(plugin: Plugin, made: PodInfo, *nodes: Any) -> set[str]:
    of = cluster(*nodes)
    return names(plugin.filter(made, of), of)


def scores(plugin: Plugin, made: PodInfo, *nodes: Any) -> dict[str, float] | None:
    of = cluster(*nodes)
    found = plugin.score(made, of)
    return None if found is None else {each.metadata.name: float(found[row]) for row, each in of.nodes()}


class TestTaintToleration:
    tainted = node("t", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}])

    @pytest.mark.parametrize(
        ("toleration", "tolerated"),
        [
            ({"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}, True),
            ({"key": "k", "value": "v"}, True),
            ({"key": "k", "operator": "", "value": "v"}, True),
            ({"key": "k", "operator": "Exists"}, True),
            ({"operator": "Exists"}, True),
            ({"operator": "Exists", "effect": "NoSchedule"}, True),
            ({"operator": "Exists", "effect": "NoExecute"}, False),
            ({"key": "k", "value": "other"}, False),
            ({"key": "other", "operator": "Exists"}, False),
            ({"key": "k", "operator": "Exists", "effect": "PreferNoSchedule"}, False),
        ],
    )
    def test_tolerations(self, toleration: Json, tolerated: bool) -> None:
        expected = {"free", "t"} if tolerated else {"free"}
        assert passes(TaintToleration(), info(tolerations=[toleration]), node("free"), self.tainted) == expected

    def test_every_hard_taint_must_be_tolerated(self) -> None:
        both = node("t", taints=[{"key": "a", "effect": "NoSchedule"}, {"key": "b", "effect": "NoExecute"}])
        one = info(tolerations=[{"key": "a", "operator": "Exists"}])
        two = info(tolerations=[{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}])
        assert passes(TaintToleration(), one, both) == set()
        assert passes(TaintToleration(), two, both) == {"t"}

    def test_soft_taints_only_score(self) -> None:
        soft = node("s", taints=[{"key": "a", "effect": "PreferNoSchedule"}])
        softer = node("m", taints=[{"key": k, "effect": "PreferNoSchedule"} for k in "ab"])
        assert passes(TaintToleration(), info(), soft) == {"s"}
        assert scores(TaintToleration(), info(), node("f"), soft, softer) == {"f": 100.0, "s": 50.0, "m": 0.0}
        assert scores(TaintToleration(), info(), node("f")) is None

    def test_a_change_of_the_taints_is_seen(self) -> None:
        of = cluster(node("a"))
        assert names(TaintToleration().filter(info(), of), of) == {"a"}
        of.set_node(node("a", taints=[{"key": "k", "effect": "NoSchedule"}]))
        assert names(TaintToleration().filter(info(), of), of) == set()


class TestNodeUnschedulable:
    def test_a_cordoned_node_takes_only_who_tolerates_it(self) -> None:
        tolerant = info(tolerations=[{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}])
        nodes = node("open"), node("cordoned", unschedulable=True)
        assert passes(NodeUnschedulable(), info(), *nodes) == {"open"}
        assert passes(NodeUnschedulable(), tolerant, *nodes) == {"open", "cordoned"}


class TestNodeName:
    def test_only_the_named_node(self) -> None:
        assert passes(NodeName(), info(nodeName="b"), node("a"), node("b")) == {"b"}
        assert passes(NodeName(), info(), node("a"), node("b")) == {"a", "b"}


def requires(*terms: Json) -> Json:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}


def rule(key: str, operator: str, *values: str) -> Json:
    return {"key": key, "operator": operator, "values": list(values)}


class TestNodeAffinity:
    nodes = (
        node("a", labels={"zone": "1", "size": "5"}),
        node("b", labels={"zone": "2", "size": "10"}),
        node("c", labels={"size": "1_000"}),
        node("d"),
    )

    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            (rule("zone", "In", "1", "3"), "a"),
            (rule("zone", "NotIn", "1"), "bcd"),
            (rule("zone", "Exists"), "ab"),
            (rule("zone", "DoesNotExist"), "cd"),
            (rule("size", "Gt", "5"), "b"),
            (rule("size", "Lt", "10"), "a"),
            (rule("size", "Gt", "-1"), "ab"),
            (rule("zone", "Like", "1"), ""),
        ],
    )
    def test_operators(self, expression: Json, expected: str) -> None:
        made = info(affinity=requires({"matchExpressions": [expression]}))
        assert passes(NodeAffinity(), made, *self.nodes) == set(expected)

    def test_terms_are_ored_and_their_rules_anded(self) -> None:
        first = {"matchExpressions": [rule("zone", "Exists"), rule("size", "Gt", "5")]}
        second = {"matchFields": [rule("metadata.name", "In", "d")]}
        assert passes(NodeAffinity(), info(affinity=requires(first, second)), *self.nodes) == {"b", "d"}

    def test_fields(self) -> None:
        term = {"matchFields": [rule("metadata.name", "NotIn", "a")], "matchExpressions": [rule("zone", "Exists")]}
        assert passes(NodeAffinity(), info(affinity=requires(term)), *self.nodes) == {"b"}

    def test_an_empty_term_and_no_terms_match_nothing(self) -> None:
        assert passes(NodeAffinity(), info(affinity=requires({})), *self.nodes) == set()
        assert passes(NodeAffinity(), info(affinity=requires()), *self.nodes) == set()

    def test_node_selector_and_affinity_both_hold(self) -> None:
        made = info(nodeSelector={"zone": "1"}, affinity=requires({"matchExpressions": [rule("size", "Gt", "5")]}))
        assert passes(NodeAffinity(), made, *self.nodes) == set()
        assert passes(NodeAffinity(), info(nodeSelector={"zone": "1", "size": "5"}), *self.nodes) == {"a"}

    def test_preferences_add_up(self) -> None:
        wants = [
            {"weight": 30, "preference": {"matchExpressions": [rule("zone", "Exists")]}},
            {"weight": 10, "preference": {"matchExpressions": [rule("zone", "In", "2")]}},
        ]
        made = info(affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": wants}})
        assert passes(NodeAffinity(), made, *self.nodes) == set("abcd")
        assert scores(NodeAffinity(), made, *self.nodes) == {"a": 75.0, "b": 100.0, "c": 0.0, "d": 0.0}
        assert scores(NodeAffinity(), info(), *self.nodes) is None

    def test_a_change_of_the_labels_is_seen(self) -> None:
        of = cluster(*self.nodes)
        made = info(nodeSelector={"zone": "1"})
        assert names(NodeAffinity().filter(made, of), of) == {"a"}
        of.set_node(node("d", labels={"zone": "1"}))
        assert names(NodeAffinity().filter(made, of), of) == {"a", "d"}


def ports(*wanted: Json) -> Json:
    return {"containers": [{"name": "c", "ports": [{"containerPort": 1, **port} for port in wanted]}]}


class TestNodePorts:
    @pytest.mark.parametrize(
        ("taken", "wanted", "free"),
        [
            ({"hostPort": 80}, {"hostPort": 80}, False),
            ({"hostPort": 80}, {"hostPort": 81}, True),
            ({"hostPort": 80}, {"hostPort": 80, "protocol": "UDP"}, True),
            ({"hostPort": 80, "hostIP": "10.0.0.1"}, {"hostPort": 80, "hostIP": "10.0.0.2"}, True),
            ({"hostPort": 80, "hostIP": "10.0.0.1"}, {"hostPort": 80, "hostIP": "10.0.0.1"}, False),
            ({"hostPort": 80}, {"hostPort": 80, "hostIP": "10.0.0.1"}, False),
            ({"hostPort": 80, "hostIP": "10.0.0.1"}, {"hostPort": 80, "hostIP": "0.0.0.0"}, False),
            ({"hostPort": 80}, {}, True),
        ],
    )
    def test_conflicts(self, taken: Json, wanted: Json, free: bool) -> None:
        of = cluster(node("a"), node("b"))
        of.place(info("first", **ports(taken)), "a")
        found = names(NodePorts().filter(info("second", **ports(wanted)), of), of)
        assert found == ({"a", "b"} if free else {"b"})

    def test_a_port_is_free_once_its_last_pod_went(self) -> None:
        of = cluster(node("a"))
        for name in ("first", "second"):
            of.place(info(name, **ports({"hostPort": 80})), "a")
        of.remove_pod("default/first")
        assert names(NodePorts().filter(info(**ports({"hostPort": 80})), of), of) == set()
        of.remove_pod("default/second")
        assert names(NodePorts().filter(info(**ports({"hostPort": 80})), of), of) == {"a"}


class TestNodeResourcesFit:
    def test_exactly_enough_is_enough(self) -> None:
        of = cluster(node("a", cpu="2", memory="1Gi"))
        of.place(info("first", cpu="1", memory="512Mi"), "a")
        plugin = NodeResourcesFit()
        assert names(plugin.filter(info(cpu="1", memory="512Mi"), of), of) == {"a"}
        assert names(plugin.filter(info(cpu="1001m"), of), of) == set()
        assert names(plugin.filter(info(memory="513Mi"), of), of) == set()

    def test_a_node_holds_so_many_pods(self) -> None:
        of = cluster(node("a", pods="1"))
        of.place(info("first"), "a")
        assert names(NodeResourcesFit().filter(info(), of), of) == set()

    def test_a_pod_that_requests_nothing_fits_an_overfull_node(self) -> None:
        of = cluster(node("a", cpu="1"))
        of.place(info("first", cpu="2"), "a")
        assert names(NodeResourcesFit().filter(info(), of), of) == {"a"}
        assert names(NodeResourcesFit().filter(info(cpu="0"), of), of) == {"a"}

    def test_extended_resources(self) -> None:
        of = cluster(node("a"), node("b", allocatable={"x.io/gpu": "1"}))
        plugin = NodeResourcesFit()
        assert names(plugin.filter(info(containers=[container(**{"x.io/gpu": "1"})]), of), of) == {"b"}
        assert names(plugin.filter(info(containers=[container(**{"x.io/gpu": "2"})]), of), of) == set()

    def test_asking_for_what_no_node_has_costs_no_column(self) -> None:
        of = cluster(node("a"))
        asks = info(containers=[container(**{"x.io/nothing": "1"})])
        assert names(NodeResourcesFit().filter(asks, of), of) == set()
        assert dict(NodeResourcesFit().reasons(asks, of, of.live)) == {"Insufficient x.io/nothing": 1}
        assert "x.io/nothing" not in of.columns

    def test_every_shortage_is_a_reason(self) -> None:
        of = cluster(node("a", cpu="1", memory="1Mi", pods="1"), node("b", cpu="1"))
        of.place(info("first"), "a")
        asks = info(cpu="2", memory="2Mi")
        assert dict(NodeResourcesFit().reasons(asks, of, of.live)) == {
            "Insufficient cpu": 2, "Insufficient memory": 1, "Too many pods": 1,
        }  # fmt: skip

    def test_the_emptier_node_scores_higher(self) -> None:
        of = cluster(node("a", cpu="4", memory="4Gi"), node("b", cpu="4", memory="4Gi"))
        of.place(info("first", cpu="2", memory="2Gi"), "a")
        found = NodeResourcesFit().score(info(cpu="1", memory="1Gi"), of)
        assert found is not None
        assert (float(found[0]), float(found[1])) == (25.0, 75.0)

    def test_a_node_without_the_resource_scores_nothing(self) -> None:
        assert scores(NodeResourcesFit(), info(cpu="1", memory="1Gi"), node("a", cpu="0", memory="0")) == {"a": 0.0}


class TestBalancedAllocation:
    def test_equal_shares_score_highest(self) -> None:
        found = scores(
            NodeResourcesBalancedAllocation(), info(cpu="1", memory="1Gi"),
            node("even", cpu="2", memory="2Gi"), node("odd", cpu="2", memory="4Gi"),
        )  # fmt: skip
        assert found == {"even": 100.0, "odd": 87.0}

    def test_a_pod_that_requests_nothing_does_not_care(self) -> None:
        assert scores(NodeResourcesBalancedAllocation(), info(), node("a")) is None
