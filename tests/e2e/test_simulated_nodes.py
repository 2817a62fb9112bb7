"""Simulated nodes that behave as they are told: delays, faults, outages and use of resources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from real_cluster import started, until

import tiphys.testing
from tiphys.kubelet.behaviour import Behaviours


def pod(name: str, **annotations: str) -> str:
    notes = {f"tiphys.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    spec = {"containers": [{"name": "c", "image": "app:1"}], "terminationGracePeriodSeconds": 30}
    return json.dumps(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": notes}, "spec": spec}
    )


def waiting(made: Any, name: str) -> str:
    found: str = made.kubectl("get", "pod", name, "-o", "jsonpath={.status.containerStatuses[0].state.waiting.reason}")
    return found


def phase(made: Any, name: str) -> str:
    found: str = made.kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}")
    return found


@pytest.mark.parametrize(("fault", "reasons"), [
    ("image", {"ErrImagePull", "ImagePullBackOff"}), ("create", {"CreateContainerError"}),
    ("start", {"RunContainerError", "CrashLoopBackOff"}),
])  # fmt: skip
def test_a_pod_fails_as_its_annotation_says_and_is_mended_by_taking_it_away(fault: str, reasons: set[str]) -> None:
    with tiphys.testing.cluster() as made:
        made.kubectl("apply", "-f", "-", stdin=pod("p", fault=fault))
        until(lambda: waiting(made, "p") in reasons, "it waits for a reason of upstream's")
        told = json.loads(made.kubectl("get", "events", "-o", "json"))["items"]
        assert any(event["reason"] == "Failed" and event["type"] == "Warning" for event in told)
        made.kubectl("annotate", "pod", "p", "tiphys.io/fault-")
        until(lambda: phase(made, "p") == "Running", "it runs", 40)


def test_the_same_seed_makes_the_same_number_of_pods_fail() -> None:
    def failed() -> int:
        with tiphys.testing.cluster(2, Behaviours(seed=7, image_missing=0.5)) as made:
            made.kubectl("create", "deployment", "web", "--image=app:1", "--replicas=20")

            def settled() -> list[Any]:
                pods = json.loads(made.kubectl("get", "pods", "-o", "json"))["items"]
                states = [item["status"].get("containerStatuses", [{}])[0].get("state", {}) for item in pods]
                done = [s for s in states if "running" in s or s.get("waiting", {}).get("reason", "").endswith("Off")]
                return states if len(done) == 20 else []

            return sum("waiting" in state for state in until(settled, "all run or wait"))

    first = failed()
    assert 0 < first < 20
    assert failed() == first


def test_use_shows_in_metrics_and_follows_the_annotation() -> None:
    with tiphys.testing.cluster(behaviours=Behaviours(usage_cpu="50m", usage_memory="20Mi")) as made:
        made.kubectl("apply", "-f", "-", stdin=pod("calm"))
        made.kubectl("apply", "-f", "-", stdin=pod("busy", usage_cpu="700m", usage_memory="1Gi"))
        made.kubectl("wait", "--for=condition=Ready", "pod/calm", "pod/busy", "--timeout=20s")

        def used(name: str) -> tuple[int, str]:
            row = made.kubectl("top", "pod", name, "--no-headers").split()
            return int(row[1].removesuffix("m")), row[2]

        assert used("busy")[1] == "1024Mi"
        assert abs(used("busy")[0] - 700) <= 10
        assert used("calm")[1] == "20Mi"
        assert abs(used("calm")[0] - 50) <= 5
        row = made.kubectl("top", "node", "sim-1", "--no-headers").split()
        assert abs(int(row[1].removesuffix("m")) - 750) <= 20
        made.kubectl("annotate", "pod", "calm", "--overwrite", "tiphys.io/usage-cpu=300m")
        until(lambda: abs(used("calm")[0] - 300) <= 10, "its use rises")


def test_a_node_is_not_ready_while_told_so() -> None:
    with tiphys.testing.cluster(2) as made:

        def ready(word: str) -> bool:
            path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
            return made.kubectl("get", "node", "sim-1", "-o", path) == word

        made.kubectl("create", "deployment", "web", "--image=app:1", "--replicas=4")
        made.kubectl("rollout", "status", "deployment/web", "--timeout=20s")
        made.kubectl("annotate", "node", "sim-1", "tiphys.io/not-ready=true")
        until(lambda: ready("False"), "it is not ready")
        taints = lambda: made.kubectl("get", "node", "sim-1", "-o", "jsonpath={.spec.taints[*].key}")  # noqa: E731
        until(lambda: "node.kubernetes.io/not-ready" in taints(), "it is tainted")
        made.kubectl("annotate", "node", "sim-1", "tiphys.io/not-ready-")
        until(lambda: ready("True") and not taints(), "it is back")


def test_a_pod_that_is_slow_to_start_and_to_stop() -> None:
    with tiphys.testing.cluster() as made:
        made.kubectl("apply", "-f", "-", stdin=pod("p", start_delay="3600"))
        until(lambda: waiting(made, "p") == "ContainerCreating", "it starts")
        made.kubectl("apply", "-f", "-", stdin=pod("q", start_delay="0-0.01", stop_delay="20"))
        made.kubectl("wait", "--for=condition=Ready", "pod/q", "--timeout=20s")
        made.kubectl("delete", "pod", "q", "--wait=false")
        assert made.kubectl("get", "pod", "q", "-o", "jsonpath={.metadata.deletionTimestamp}")
        made.kubectl("delete", "pod", "p", "q", "--force", "--grace-period=0")


def test_what_cannot_be_understood_is_told() -> None:
    with tiphys.testing.cluster() as made:
        made.kubectl("apply", "-f", "-", stdin=pod("p", exit_after="soon"))
        until(lambda: waiting(made, "p") == "CreateContainerError", "it waits")
        assert "soon" in made.kubectl("describe", "pod", "p")
    with pytest.raises(ValueError, match="not a share"):
        Behaviours(crash=7)


@pytest.mark.root
def test_up_with_a_file_of_behaviours(tmp_path: Path) -> None:
    file = tmp_path / "behaviours.yaml"
    file.write_text("usage_cpu: 200m\ncrash: 1.0\ncrash_after: [0.1, 0.2]\nseed: 3\n")
    with started("simb", "--simulate", "2", "--behaviours", str(file)) as made:
        made.kubectl("apply", "-f", "-", stdin=pod("p"))
        until(lambda: waiting(made, "p") == "CrashLoopBackOff", "it crashes")
        assert len(made.kubectl("top", "nodes", "--no-headers").splitlines()) == 2
        file.write_text("usage: 200m\n")
        with pytest.raises(AssertionError, match="'usage' is not one of"):
            made.tiphys("up", made.name, "--behaviours", str(file))


def test_nodes_fail_and_return_by_themselves() -> None:
    with tiphys.testing.cluster(3, Behaviours(node_fails=1.0, node_fails_after=(0.5, 1.0), node_down=0.5)) as made:

        def conditions(name: str) -> list[str]:
            path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
            return made.kubectl("get", "node", name, "-o", path).split()

        for name in ("sim-1", "sim-3"):
            until(lambda name=name: conditions(name) == ["False"], f"{name} fails")
            until(lambda name=name: conditions(name) == ["True"], f"{name} returns")
