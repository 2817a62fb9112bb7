"""From a pod to a node: the best one, and upstream's sentence where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scheduler_objects import cluster, container, info, node

from tiphys.scheduler.cluster import Cluster, Mask, Scores
from tiphys.scheduler.pipeline import DEFAULT, Unschedulable, choose
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.pod import PodInfo

TAINT = {"key": "k", "value": "v", "effect": "NoSchedule"}


def refusal(made: PodInfo, of: Cluster) -> Unschedulable:
    found = choose(made, of)
    assert isinstance(found, Unschedulable)
    return found


def chosen(made: PodInfo, of: Cluster) -> str:
    found = choose(made, of)
    assert isinstance(found, int), str(found)
    return of.name(found)


def test_without_nodes() -> None:
    assert str(refusal(info(), cluster())) == "no nodes available to schedule pods"


def test_the_sentence_is_upstreams() -> None:
    of = cluster(node("a", cpu="1"), node("b", taints=[TAINT]), node("c", taints=[{**TAINT, "key": "other"}]))
    found = refusal(info(cpu="2"), of)
    assert str(found) == "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s)."
    assert found.plugins == {"TaintToleration", "NodeResourcesFit"}


def test_reasons_are_sorted_as_text_with_their_numbers() -> None:
    of = cluster(node("a", cpu="1"), node("b", cpu="1"), node("c", unschedulable=True))
    expected = "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu."
    assert str(refusal(info(cpu="2"), of)) == expected


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (info(nodeSelector={"x": "y"}), "1 node(s) didn't match Pod's node affinity/selector"),
        (info(nodeName="other"), "1 node(s) didn't match the requested node name"),
        (info(containers=[container(**{"x.io/gpu": "1"})]), "1 Insufficient x.io/gpu"),
        (info(cpu="99", memory="99Gi"), "1 Insufficient cpu, 1 Insufficient memory"),
    ],
)
def test_one_node(pod: PodInfo, expected: str) -> None:
    assert str(refusal(pod, cluster(node("a")))) == f"0/1 nodes are available: {expected}."


def test_removed_nodes_are_not_chosen_and_not_counted() -> None:
    of = cluster(node("a"), node("b", cpu="1"))
    of.remove_node("a")
    assert chosen(info(), of) == "b"
    assert str(refusal(info(cpu="2"), of)) == "0/1 nodes are available: 1 Insufficient cpu."


def test_pods_spread_over_equal_nodes() -> None:
    of = cluster(*(node(f"n{number}") for number in range(4)))
    for number in range(8):
        made = info(f"p{number}", cpu="100m")
        of.place(made, chosen(made, of))
    assert sorted(len(entry.pods) for entry in of.rows if entry is not None) == [2, 2, 2, 2]


def test_what_is_preferred_beats_what_is_empty() -> None:
    of = cluster(node("a", labels={"disk": "ssd"}), node("b"))
    of.place(info("first", cpu="1"), "a")
    term = {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}
    wants = [{"weight": 1, "preference": term}]
    made = info(affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": wants}})
    assert chosen(made, of) == "a"


class _Odd(Plugin):
    name = "Odd"

    def filter(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        return np.arange(len(cluster.rows)) % 2 == 1

    def score(self, info: PodInfo, cluster: Cluster) -> Scores | None:
        return np.arange(len(cluster.rows), dtype=np.float64)


def test_a_users_plugin_needs_no_more_than_a_class() -> None:
    of = cluster(*(node(f"n{number}") for number in range(5)))
    found = choose(info(), of, (*DEFAULT, _Odd()))
    assert isinstance(found, int)
    assert of.name(found) == "n3"
    alone = choose(info(), cluster(node("n0")), (_Odd(),))
    assert str(alone) == "0/1 nodes are available: 1 node(s) refused by Odd."
