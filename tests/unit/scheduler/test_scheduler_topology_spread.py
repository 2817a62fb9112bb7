"""PodTopologySpread: what it refuses, what it prefers, and that its counts follow what happens."""

from __future__ import annotations

from typing import Any

import msgspec
from scheduler_objects import Json, cluster, info, names, node

from tiphys.kinds.core.affinity import LabelSelector, TopologySpreadConstraint
from tiphys.kinds.core.pod import Pod
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.matching import compiled
from tiphys.scheduler.pipeline import Unschedulable, choose
from tiphys.scheduler.plugins.pod_topology_spread import PodTopologySpread
from tiphys.scheduler.pod import PodInfo

APP = {"app": "web"}
PLUGIN = PodTopologySpread()


def spread(key: str = "zone", skew: int = 1, hard: bool = True, **more: Any) -> Json:
    when = "DoNotSchedule" if hard else "ScheduleAnyway"
    selector = {"labelSelector": {"matchLabels": APP}}
    return {"topologyKey": key, "maxSkew": skew, "whenUnsatisfiable": when, **selector, **more}


def web(name: str = "p", *constraints: Json, **spec: Any) -> PodInfo:
    return info(name, labels=spec.pop("labels", APP), topologySpreadConstraints=list(constraints), **spec)


def zones(**pods: int) -> Cluster:
    """A node per zone, of the zone's name, with so many pods of the app."""
    made = cluster(*(node(zone, labels={"zone": zone, "kubernetes.io/hostname": zone}) for zone in pods))
    for zone, count in pods.items():
        for number in range(count):
            assert made.place(web(f"{zone}-{number}"), zone)
    return made


def passes(made: PodInfo, of: Cluster) -> set[str]:
    return names(PLUGIN.filter(made, of), of)


def test_only_where_the_skew_stays_small() -> None:
    of = zones(a=2, b=1, c=1)
    assert passes(web("p", spread()), of) == {"b", "c"}
    assert passes(web("p", spread(skew=2)), of) == {"a", "b", "c"}


def test_a_pod_that_is_not_counted_itself_adds_no_skew() -> None:
    assert passes(web("p", spread(), labels={"app": "other"}), zones(a=1, b=0)) == {"a", "b"}


def test_nodes_without_the_label_are_refused_and_named() -> None:
    of = zones(a=0)
    of.set_node(node("bare"))
    assert passes(web("p", spread()), of) == {"a"}
    of.place(web("x"), "a")
    of.set_node(node("b", labels={"zone": "b"}, cpu="0"))
    found = choose(web("p", spread(), cpu="1"), of)
    assert isinstance(found, Unschedulable)
    assert dict(found.reasons) == {
        "Insufficient cpu": 1,
        "node(s) didn't match pod topology spread constraints": 1,
        "node(s) didn't match pod topology spread constraints (missing required label)": 1,
    }


def test_too_few_domains_count_as_if_one_were_empty() -> None:
    of = zones(a=1, b=1)
    assert passes(web("p", spread(minDomains=3)), of) == set()
    assert passes(web("p", spread(minDomains=2)), of) == {"a", "b"}


def test_nodes_that_the_pod_cannot_have_do_not_count() -> None:
    of = zones(a=1, b=0)
    selector = {"nodeSelector": {"kubernetes.io/hostname": "a"}}
    assert passes(web("p", spread(), **selector), of) >= {"a"}
    assert passes(web("p", spread(nodeAffinityPolicy="Ignore"), **selector), of) == {"b"}


def test_tainted_nodes_count_unless_the_pod_says_otherwise() -> None:
    of = zones(a=1)
    of.set_node(node("b", labels={"zone": "b"}, taints=[{"key": "k", "effect": "NoSchedule"}]))
    assert "a" not in passes(web("p", spread()), of)
    assert "a" in passes(web("p", spread(nodeTaintsPolicy="Honor")), of)


def test_pods_of_other_namespaces_and_pods_that_go_do_not_count() -> None:
    of = zones(a=0, b=0)
    of.place(info("other", labels=APP, namespace="elsewhere"), "a")
    manifest = {"metadata": {"name": "gone", "namespace": "default", "labels": APP, "uid": "u"}}
    of.place(PodInfo(msgspec.convert(manifest, Pod)), "a")
    assert passes(web("p", spread()), of) == {"b"}
    manifest["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    of.place(PodInfo(msgspec.convert(manifest, Pod)), "a")
    assert passes(web("p", spread()), of) == {"a", "b"}


def test_every_constraint_must_hold() -> None:
    of = cluster(*(node(name, labels={"zone": name[0], "host": name}) for name in ("a1", "a2", "b1")))
    of.place(web("x"), "a1")
    of.place(web("y"), "b1")
    assert passes(web("p", spread(), spread("host")), of) == {"a2"}


def test_counts_follow_pods_nodes_and_labels() -> None:
    of, made = zones(a=1, b=0), web("p", spread())
    assert passes(made, of) == {"b"}
    of.remove_pod("default/a-0")
    assert passes(made, of) == {"a", "b"}
    of.place(web("x"), "b")
    assert passes(made, of) == {"a"}
    of.set_node(node("b", labels={"zone": "a"}))
    assert passes(made, of) == {"a", "b"}
    of.remove_node("b")
    of.set_node(node("b", labels={"zone": "b"}))
    assert passes(made, of) == {"a", "b"}


def test_soft_constraints_refuse_nothing_and_prefer_the_emptier_domain() -> None:
    of, made = zones(a=2, b=0, c=1), web("p", spread(hard=False))
    assert PLUGIN.filter(made, of) is None
    scores = PLUGIN.score_among(made, of, of.live)
    assert scores is not None
    assert {name: round(scores[of.row(name) or 0]) for name in "abc"}["b"] == 100
    assert choose(made, of) == of.row("b")


def test_soft_scores_of_nodes_without_the_label_are_nothing() -> None:
    of = zones(a=1)
    of.set_node(node("bare"))
    scores = PLUGIN.score_among(web("p", spread(hard=False)), of, of.live)
    assert scores is not None
    assert scores[of.row("bare") or 0] == 0


def related(name: str = "p") -> PodInfo:
    """A pod without constraints whose controller selects the app."""
    return PodInfo(web(name).pod, lambda pod: compiled(LabelSelector(APP)))


def test_pods_of_one_controller_spread_without_saying_so() -> None:
    of = cluster(*(node(name, labels={"kubernetes.io/hostname": name}) for name in "abc"))
    of.place(web("x"), "a")
    of.place(web("y"), "b")
    assert PLUGIN.filter(related(), of) is None
    scores = PLUGIN.score_among(related(), of, of.live)
    assert scores is not None
    assert scores[of.row("c") or 0] > scores[of.row("a") or 0]
    assert PLUGIN.score_among(web("alone"), of, of.live) is None


def test_a_profile_may_have_defaults_of_its_own() -> None:
    constraint = TopologySpreadConstraint(1, "zone", "DoNotSchedule")
    of = zones(a=1, b=0)
    assert names(PodTopologySpread([constraint]).filter(related(), of), of) == {"b"}
    assert PodTopologySpread([]).score_among(related(), of, of.live) is None
