"""Every kind of fault under load: no acknowledged write is lost, nothing goes back, no watch has a gap, visits work."""

from __future__ import annotations

import pytest
from faulty import Faulty, ready
from figures import report
from history import check
from nemesis import Nemesis

pytestmark = pytest.mark.root
SEED = 20261124


def test_no_fault_breaks_what_was_promised(faulty: Faulty):
    nemesis = Nemesis(faulty.cluster, SEED)
    with faulty.visited() as visits, faulty.load(SEED) as load:
        nemesis.run(list(nemesis.faults()))
    violations = check(load.history)
    print(report(load.history, violations, nemesis.done), f"seed: {SEED}", sep="\n")
    assert violations == []
    assert visits.failures == []
    assert visits.answers > 100


def test_without_a_majority_nothing_is_acknowledged_and_nothing_is_lost(faulty: Faulty):
    nemesis = Nemesis(faulty.cluster, SEED)
    with faulty.visited() as visits, faulty.load(SEED) as load, nemesis.without_majority() as left:
        alone = ["--server", faulty.urls[left - 1], "--request-timeout=30s"]
        answered = faulty.cluster.kubectl("get", "nodes", *alone, check=False)
    ready(faulty.cluster)
    assert "ServiceUnavailable" in answered or "the store does not answer" in answered
    assert check(load.history) == []
    assert visits.failures == []


def test_agents_find_their_way_back(faulty: Faulty):
    """After all of that every node is Ready, and a new pod runs."""
    nodes = faulty.cluster.get("nodes")["items"]
    faulty.cluster.kubectl("rollout", "restart", "deployment/web")
    faulty.cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert all(
        condition["status"] == "True"
        for node in nodes for condition in node["status"]["conditions"] if condition["type"] == "Ready"
    )  # fmt: skip
