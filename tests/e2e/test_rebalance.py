"""`tiphys rebalance` on a cluster of simulated nodes: what is moved, what is not, and where it goes."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import tiphys.testing
from tiphys.cli.config import Connection, load
from tiphys.cli.transport import Http
from tiphys.main.rebalance import _parser, lines
from tiphys.scheduler import config
from tiphys.testing import Cluster

NODES = ("sim-1", "sim-2", "sim-3")


@pytest.fixture
def made() -> Iterator[Cluster]:
    with tiphys.testing.cluster(nodes=3) as cluster:
        yield cluster


def rebalance(made: Cluster, *words: str) -> list[str]:
    options: argparse.Namespace = _parser().parse_args(["--timeout", "20", *words])
    profiles = {profile.name: profile for profile in config.default()}
    return list(lines(Http(Connection(load(str(made.kubeconfig)), {})), profiles, options))


def pods(made: Cluster) -> list[Any]:
    return list(json.loads(made.kubectl("get", "pods", "-o", "json"))["items"])


def where(made: Cluster) -> Counter[str]:
    return Counter(pod["spec"]["nodeName"] for pod in pods(made))


def names(made: Cluster) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods(made)}


def deploy(made: Cluster, name: str, replicas: int, **pod: Any) -> None:
    annotations = pod.pop("annotations", {})
    containers = [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "500m"}}}]
    template = {
        "metadata": {"labels": {"app": name}, "annotations": annotations},
        "spec": {"containers": containers, **pod},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
    made.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    made.kubectl("rollout", "status", f"deployment/{name}", "--timeout=20s")


def crowd(made: Cluster, *names: str, replicas: int = 6, **pod: Any) -> None:
    """Deployments that run on the first node only, though all would take them now."""
    made.kubectl("cordon", *NODES[1:])
    for name in names:
        deploy(made, name, replicas, **pod)
    made.kubectl("uncordon", *NODES[1:])
    assert set(where(made)) == {NODES[0]}


def budget(made: Cluster, app: str, at_least: int) -> None:
    spec = {"minAvailable": at_least, "selector": {"matchLabels": {"app": app}}}
    made.kubectl("apply", "-f", "-", stdin=json.dumps(
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": app}, "spec": spec}
    ))  # fmt: skip
    made.kubectl("wait", f"pdb/{app}", "--for=jsonpath={.status.currentHealthy}=6", "--timeout=20s")


def test_pods_of_a_crowded_node_go_to_the_others_and_a_second_run_moves_none(made: Cluster) -> None:
    crowd(made, "web")
    budget(made, "web", 5)
    before = names(made)
    plan = rebalance(made, "--dry-run")
    assert plan[-1].endswith("pods would be moved")
    assert all(line.startswith("would move default/web-") and f"  {NODES[0]} -> sim-" in line for line in plan[:-1])
    assert names(made) == before
    said = rebalance(made)
    assert said[-1] == f"{len(before - names(made))} pods were moved"
    assert where(made) == dict.fromkeys(NODES, 2)
    assert rebalance(made) == ["No pods were moved: nothing would be better by the margin"]


def test_pods_leave_a_node_whose_taint_they_do_not_tolerate(made: Cluster) -> None:
    deploy(made, "web", 3)
    daemons = {
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": {
            "metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}},
    }  # fmt: skip
    made.kubectl("apply", "-f", "-", stdin=json.dumps(daemons))
    made.kubectl("rollout", "status", "daemonset/agent", "--timeout=20s")
    made.kubectl("taint", "node", NODES[0], "for=others:NoSchedule")
    said = rebalance(made)
    assert f"{NODES[0]}: node(s) had untolerated taint" in said[0]
    left = {pod["metadata"]["labels"]["app"] for pod in pods(made) if pod["spec"]["nodeName"] == NODES[0]}
    assert left == {"agent"}


@pytest.mark.parametrize(
    "why",
    [
        {"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}},
        {"volumes": [{"name": "scratch", "emptyDir": {}}]},
        {"priorityClassName": "system-node-critical"},
    ],
)
def test_pods_that_may_not_be_moved_stay(made: Cluster, why: dict[str, Any]) -> None:
    crowd(made, "web", **why)
    assert rebalance(made) == ["No pods were moved: nothing would be better by the margin"]
    assert set(where(made)) == {NODES[0]}


def test_a_budget_without_room_keeps_its_pods(made: Cluster) -> None:
    crowd(made, "web", "free")
    budget(made, "web", 6)
    rebalance(made)
    assert {pod["spec"]["nodeName"] for pod in pods(made) if pod["metadata"]["labels"]["app"] == "web"} == {NODES[0]}
    assert set(where(made)) == set(NODES)


def test_only_pods_of_the_namespace_are_moved(made: Cluster) -> None:
    crowd(made, "web")
    assert rebalance(made, "-n", "kube-system")[-1].startswith("No pods were moved")
    assert set(where(made)) == {NODES[0]}


def test_pods_without_a_controller_stay(made: Cluster) -> None:
    made.kubectl("cordon", *NODES[1:])
    for number in range(4):
        made.kubectl("run", f"bare-{number}", "--image=i", "--overrides", json.dumps({"spec": {"containers": [
            {"name": "c", "image": "i", "resources": {"requests": {"cpu": "500m"}}}]}}))  # fmt: skip
    made.kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=20s")
    made.kubectl("uncordon", *NODES[1:])
    assert rebalance(made)[-1].startswith("No pods were moved")


def test_pods_stay_with_a_volume_that_is_on_their_node(made: Cluster) -> None:
    at = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODES[0]]}
    terms = [{"matchExpressions": [at]}]
    volume = {
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "disk"},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "local": {"path": "/disk"}, "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        },
    }  # fmt: skip
    claim = {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": "disk",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }  # fmt: skip
    made.kubectl("apply", "-f", "-", stdin="\n---\n".join(json.dumps(each) for each in (volume, claim)))
    made.kubectl("wait", "pvc/data", "--for=jsonpath={.status.phase}=Bound", "--timeout=20s")
    crowd(made, "db", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}])
    deploy(made, "web", 1)
    assert rebalance(made)[-1].startswith("No pods were moved")
    assert {pod["spec"]["nodeName"] for pod in pods(made) if pod["metadata"]["labels"]["app"] == "db"} == {NODES[0]}


def test_packing_empties_nodes_and_cordons_them(made: Cluster) -> None:
    deploy(made, "web", 3)
    assert set(where(made)) == set(NODES)
    assert "2 nodes would be emptied" in rebalance(made, "--pack", "--dry-run")[-1]
    said = rebalance(made, "--pack")
    assert said[-1].startswith("2 nodes were emptied: ")
    (kept,) = where(made)
    nodes = json.loads(made.kubectl("get", "nodes", "-o", "json"))["items"]
    cordoned = {node["metadata"]["name"] for node in nodes if node["spec"].get("unschedulable")}
    assert cordoned == set(NODES) - {kept}


def test_packing_that_cannot_go_on_leaves_no_node_cordoned(made: Cluster) -> None:
    deploy(made, "web", 6)
    made.kubectl("annotate", "pods", "--all", "cluster-autoscaler.kubernetes.io/safe-to-evict=false")
    said = rebalance(made, "--pack")
    assert said[-1] == "0 nodes were emptied"
    assert all("may not be moved" in line for line in said[:-1])
    assert "SchedulingDisabled" not in made.kubectl("get", "nodes")
