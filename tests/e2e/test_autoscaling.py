"""A real app under real load: containers that burn CPU, or tell a metric, get the replicas that they need."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from real_cluster import IMAGE, TIPHYS, RealCluster, started, until

import tiphys.testing
from tiphys.kubelet.behaviour import Behaviours

# Burns while the file is there; a share of a core that every machine has.
_BURN = """while true; do
  if [ -e /tmp/load ]; then i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; sleep 0.05; else sleep 0.2; fi
done"""
_TELL = "busybox mkdir -p /www; echo 'queue_length 10' > /www/metrics; busybox httpd -f -p 80 -h /www"


def workload(name: str, script: str, replicas: int, **annotations: str) -> dict[str, Any]:
    labels = {"app": name}
    container = {
        "name": "app", "image": IMAGE, "command": ["/bin/busybox", "sh", "-c", script],
        "resources": {"requests": {"cpu": "10m"}},
    }  # fmt: skip
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    template = {"metadata": {"labels": labels, "annotations": annotations}, "spec": spec}
    body = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": body}


def autoscaler(name: str, metric: dict[str, Any]) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    quick = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3, "metrics": [metric], "behavior": quick}
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    with started("scale", image=tmp_path_factory.mktemp("image")) as made:
        yield made


def apply(cluster: RealCluster, *objects: dict[str, Any]) -> None:
    for each in objects:
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(each))


def replicas(cluster: RealCluster, name: str) -> int:
    found: int = cluster.get("deployment", name)["spec"]["replicas"]
    return found


def names(cluster: RealCluster, app: str) -> list[str]:
    return [each["metadata"]["name"] for each in cluster.get("pods", "-l", f"app={app}")["items"]]


@pytest.mark.root
def test_load_brings_replicas_and_their_end_takes_them_away(cluster: RealCluster) -> None:
    target = {"type": "Utilization", "averageUtilization": 200}
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    apply(cluster, workload("burn", _BURN, 1), autoscaler("burn", metric))
    cluster.kubectl("rollout", "status", "deployment/burn", "--timeout=60s")
    (pod,) = names(cluster, "burn")
    cluster.kubectl("exec", pod, "--", "touch", "/tmp/load")
    until(lambda: replicas(cluster, "burn") > 1, "more replicas", 60)
    until(lambda: pod in cluster.kubectl("top", "pods", "--containers", check=False), "kubectl top", 30)
    assert "above target" in cluster.kubectl("describe", "hpa", "burn")
    cluster.kubectl("exec", pod, "--", "busybox", "rm", "/tmp/load")
    until(lambda: replicas(cluster, "burn") == 1, "one replica", 90)
    recommended_requests_are_taken_over(cluster, "burn")
    cluster.kubectl("delete", "hpa,deployment", "burn")


def recommended_requests_are_taken_over(cluster: RealCluster, name: str) -> None:
    words = [TIPHYS, "recommend", f"deployment/{name}", "--cluster", cluster.name]

    def measured() -> list[str]:
        lines = subprocess.run(words, capture_output=True, text=True, check=False).stdout.splitlines()
        return lines[1].split() if len(lines) > 1 and lines[1].split()[3] != "-" else []

    # Nodes measure once a minute, and CPU from one time to the next.
    _, _, request, _, cpu, _, _, memory, *_ = until(measured, "a recommendation", 150)
    assert request == "10m"
    cluster.kubectl("patch", "deployment", name, "--patch", cluster.tiphys(*words[1:], "--patch"))
    (container,) = cluster.get("deployment", name)["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"requests": {"cpu": cpu, "memory": memory}}


@pytest.mark.root
def test_what_pods_tell_is_followed(cluster: RealCluster) -> None:
    metric = {"metric": {"name": "queue_length"}, "target": {"type": "Value", "value": "5"}}
    told = workload("told", _TELL, 1, **{"prometheus.io/scrape": "true", "prometheus.io/port": "80"})
    apply(cluster, told, autoscaler("told", {"type": "External", "external": metric}))
    until(lambda: replicas(cluster, "told") == 3, "three replicas", 60)
    path = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/pods/*/queue_length"
    until(lambda: len(json.loads(cluster.kubectl("get", "--raw", path))["items"]) == 3, "three pods tell", 30)
    cluster.kubectl("delete", "hpa,deployment", "told")


@pytest.mark.root
def test_a_target_without_requests_is_told_of(cluster: RealCluster) -> None:
    plain = workload("plain", "sleep 1000", 1)
    del plain["spec"]["template"]["spec"]["containers"][0]["resources"]
    apply(cluster, plain)
    cluster.kubectl("autoscale", "deployment", "plain", "--max=3")
    until(lambda: "missing request for cpu in container app" in cluster.kubectl("describe", "hpa", "plain"), "told", 60)
    assert replicas(cluster, "plain") == 1


def test_simulated_pods_are_scaled_without_root() -> None:
    with tiphys.testing.cluster(behaviours=Behaviours(usage_cpu="40m")) as made:
        metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 100}}
        busy = workload("busy", "", 1)
        for each in (busy, autoscaler("busy", {"type": "Resource", "resource": metric})):
            made.kubectl("apply", "-f", "-", stdin=json.dumps(each))
        until(lambda: made.kubectl("get", "deployment", "busy", "-o", "jsonpath={.spec.replicas}") == "3", "three", 60)
        status = json.loads(made.kubectl("get", "hpa", "busy", "-o", "json"))["status"]
        conditions = {each["type"]: each["reason"] for each in status["conditions"]}
        assert conditions["ScalingActive"] == "ValidMetricFound"
