from __future__ import annotations

import pytest

from conformance.marks import upstream
from conformance.workloads import Kind, template, unique

pytestmark = pytest.mark.root

LABELS = {"foo": "bar"}


@pytest.fixture
def budgets(rest, namespace) -> Kind:
    return Kind(rest, "policy/v1", "poddisruptionbudgets", namespace)


def spec(least: int | str) -> dict:
    return {"minAvailable": least, "selector": {"matchLabels": LABELS}}


@upstream("[sig-apps] DisruptionController should create a PodDisruptionBudget [Conformance]")
def test_every_verb(rest, budgets):
    label = unique("pdb")
    budgets.create("b", spec("1%"), labels={"pdb": label})
    budgets.until("b", observedGeneration=1)
    while True:
        read = budgets.get("b")
        read["spec"]["minAvailable"] = "2%"
        answer = rest("PUT", f"{budgets.path}/b", read)
        if answer.code != 409:
            break
    assert answer.body["spec"]["minAvailable"] == "2%"
    budgets.until("b", observedGeneration=2)
    assert budgets.strategic("b", {"spec": {"minAvailable": "3%"}})["spec"]["minAvailable"] == "3%"
    budgets.until("b", observedGeneration=3)
    budgets.create("c", spec(1), labels={"pdb": label})
    assert len(rest.ok("GET", "/apis/policy/v1/poddisruptionbudgets", labelSelector=f"pdb={label}")["items"]) == 2
    budgets.delete("b")
    budgets.gone("b")
    rest.ok("DELETE", budgets.path, labelSelector=f"pdb={label}")
    rest.until(budgets.path, lambda answer: not answer.body["items"])


@upstream("[sig-apps] DisruptionController should observe PodDisruptionBudget status updated [Conformance]")
def test_the_status_says_how_many_disruptions_are_allowed(rest, namespace, budgets):
    budgets.create("b", spec(1))
    budgets.until("b", disruptionsAllowed=0, expectedPods=0)
    sets = Kind(rest, "apps/v1", "replicasets", namespace)
    sets.create("r", {"replicas": 3, "selector": {"matchLabels": LABELS}, "template": template(LABELS)})
    found = budgets.until("b", disruptionsAllowed=2, expectedPods=3, currentHealthy=3, desiredHealthy=1)
    assert found["status"]["conditions"][0]["reason"] == "SufficientPods"


@upstream("[sig-apps] DisruptionController should update/patch PodDisruptionBudget status [Conformance]")
def test_the_status_is_replaced_and_patched(rest, budgets):
    budgets.create("b", spec(1))
    budgets.until("b", observedGeneration=1)
    path = f"{budgets.path}/b/status"
    read = rest.ok("GET", path)
    read["status"]["disruptedPods"] = {"pod": "2024-01-01T00:00:00Z"}
    assert rest.ok("PUT", path, read)["status"]["disruptedPods"] == {"pod": "2024-01-01T00:00:00Z"}
    patch = {"metadata": {"annotations": {"patched": "true"}}, "status": {"disruptedPods": None}}
    patched = rest.merge(path, patch)
    assert "disruptedPods" not in patched["status"]
    assert patched["metadata"]["annotations"]["patched"] == "true"
