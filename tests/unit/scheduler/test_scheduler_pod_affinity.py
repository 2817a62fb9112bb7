"""InterPodAffinity: what pods want of each other, as either side says."""

from __future__ import annotations

from typing import Any

import pytest
from scheduler_objects import Json, cluster, info, names, node

from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.pipeline import Unschedulable, choose
from tiphys.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from tiphys.scheduler.pod import PodInfo

PLUGIN = InterPodAffinity()
REQUIRED, PREFERRED = (f"{word}DuringSchedulingIgnoredDuringExecution" for word in ("required", "preferred"))


def term(app: str, key: str = "zone", **more: Any) -> Json:
    return {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}, **more}


def near(*terms: Json) -> Json:
    return {"podAffinity": {REQUIRED: list(terms)}}


def away(*terms: Json) -> Json:
    return {"podAntiAffinity": {REQUIRED: list(terms)}}


def rather(weight: int, *terms: Json, side: str = "podAffinity") -> Json:
    return {side: {PREFERRED: [{"weight": weight, "podAffinityTerm": each} for each in terms]}}


def pod(name: str = "p", app: str = "", affinity: Json | None = None, **more: Any) -> PodInfo:
    return info(name, labels={"app": app} if app else {}, affinity=affinity or {}, **more)


def zones(*letters: str) -> Cluster:
    """Two nodes in each zone: a1 and a2 of a."""
    return cluster(*(node(f"{zone}{n}", labels={"zone": zone, "host": f"{zone}{n}"}) for zone in letters for n in "12"))


def passes(made: PodInfo, of: Cluster) -> set[str]:
    return names(PLUGIN.filter(made, of), of)


@pytest.fixture
def of() -> Cluster:
    """The database runs in zone a."""
    made = zones("a", "b")
    made.place(pod("db", "db"), "a1")
    return made


def test_near_is_the_whole_domain(of: Cluster) -> None:
    assert passes(pod(affinity=near(term("db"))), of) == {"a1", "a2"}
    assert passes(pod(affinity=near(term("db", "host"))), of) == {"a1"}


def test_away_is_out_of_the_whole_domain(of: Cluster) -> None:
    assert passes(pod(affinity=away(term("db"))), of) == {"b1", "b2"}
    assert passes(pod(affinity=away(term("db", "host"))), of) == {"a2", "b1", "b2"}


def test_nodes_without_the_label_attract_nobody_and_repel_nobody(of: Cluster) -> None:
    of.set_node(node("bare"))
    of.place(pod("other", "cache"), "bare")
    assert passes(pod(affinity=near(term("cache"))), of) == set()
    assert "bare" in passes(pod(affinity=away(term("cache"))), of)


def test_the_first_of_a_kind_may_go_anywhere_with_the_label(of: Cluster) -> None:
    of.set_node(node("bare"))
    assert passes(pod(app="web", affinity=near(term("web"))), of) == {"a1", "a2", "b1", "b2"}
    assert passes(pod(app="other", affinity=near(term("web"))), of) == set()


def test_several_terms_mean_pods_that_match_all(of: Cluster) -> None:
    labels = {"matchLabels": {"tier": "x"}}
    both = near(term("db"), {"topologyKey": "zone", "labelSelector": labels})
    assert passes(pod(affinity=both), of) == set()
    of.place(info("both", labels={"app": "db", "tier": "x"}), "b1")
    assert passes(pod(affinity=both), of) == {"b1", "b2"}


def test_placed_pods_keep_others_away() -> None:
    of = zones("a", "b")
    of.place(pod("loner", "l", away(term("web"))), "a1")
    assert passes(pod(app="web"), of) == {"b1", "b2"}
    assert passes(pod(app="other"), of) == {"a1", "a2", "b1", "b2"}
    of.remove_pod("default/loner")
    assert passes(pod(app="web"), of) == {"a1", "a2", "b1", "b2"}


def test_namespaces_named_and_selected(of: Cluster) -> None:
    of.population.set_namespace("blue", {"team": "blue"})
    of.place(pod("there", "db", namespace="blue"), "b1")
    assert passes(pod(affinity=near(term("db"))), of) == {"a1", "a2"}
    assert passes(pod(affinity=near(term("db", namespaces=["blue"]))), of) == {"b1", "b2"}
    selected = pod(affinity=near(term("db", namespaceSelector={"matchLabels": {"team": "blue"}})))
    assert passes(selected, of) == {"b1", "b2"}
    assert passes(pod(affinity=near(term("db", namespaceSelector={}))), of) == {"a1", "a2", "b1", "b2"}
    of.population.set_namespace("blue", {"team": "red"})
    assert passes(selected, of) == set()


@pytest.mark.parametrize(
    ("affinity", "expected"),
    [
        (near(term("none")), "node(s) didn't match pod affinity rules"),
        (away(term("db")), "node(s) didn't match pod anti-affinity rules"),
    ],
)
def test_reasons(affinity: Json, expected: str) -> None:
    of = zones("a")
    of.place(pod("db", "db"), "a1")
    found = choose(pod(affinity=affinity), of)
    assert isinstance(found, Unschedulable)
    assert dict(found.reasons) == {expected: 2}


def test_the_reason_of_an_unwelcome_pod() -> None:
    of = zones("a")
    of.place(pod("loner", "l", away(term("web"))), "a1")
    found = choose(pod(app="web"), of)
    assert isinstance(found, Unschedulable)
    assert dict(found.reasons) == {"node(s) didn't satisfy existing pods anti-affinity rules": 2}


@pytest.mark.parametrize(
    ("affinity", "best"),
    [
        (rather(10, term("db")), {"a1", "a2"}),
        (rather(10, term("db"), side="podAntiAffinity"), {"b1", "b2"}),
    ],
)
def test_preferences(of: Cluster, affinity: Json, best: set[str]) -> None:
    scores = PLUGIN.score_among(pod(affinity=affinity), of, of.live)
    assert scores is not None
    assert names(scores == 100, of) == best
    assert names(scores == 0, of) == {"a1", "a2", "b1", "b2"} - best


@pytest.mark.parametrize(
    ("placed", "best"),
    [
        (rather(10, term("web")), {"a1", "a2"}),
        (rather(10, term("web"), side="podAntiAffinity"), {"b1", "b2"}),
        (near(term("web")), {"a1", "a2"}),
    ],
)
def test_preferences_of_placed_pods(placed: Json, best: set[str]) -> None:
    of = zones("a", "b")
    of.place(pod("x", "web", placed), "a1")
    scores = PLUGIN.score_among(pod(app="web"), of, of.live)
    assert scores is not None
    assert names(scores == 100, of) == best


def test_who_has_no_wish_and_is_in_nobodys_way_scores_nothing(of: Cluster) -> None:
    assert PLUGIN.filter(pod(app="x"), of) is None
    assert PLUGIN.score_among(pod(app="x"), of, of.live) is None
