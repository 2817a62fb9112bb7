"""`tiphys.testing.cluster()`: what authors of operators and clients get, without root."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import kopf
import pytest
from real_cluster import started, until

import tiphys.testing
from tiphys.main.simulation import SimulatedNodes

_CRD = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "wishes.example.com"},
    "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "wishes", "kind": "Wish"},
        "versions": [{
            "name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        }],
    },
}  # fmt: skip


def test_kubectl_deploys_on_simulated_nodes() -> None:
    with tiphys.testing.cluster(nodes=2) as made:
        made.kubectl("create", "deployment", "web", "--image=any/thing:1", "--replicas=4")
        made.kubectl("rollout", "status", "deployment/web", "--timeout=20s")
        pods = json.loads(made.kubectl("get", "pods", "-o", "json"))["items"]
        assert {pod["spec"]["nodeName"] for pod in pods} == {"sim-1", "sim-2"}
        assert all(pod["status"]["podIP"] for pod in pods)


def test_pods_do_what_their_annotations_say() -> None:
    with tiphys.testing.cluster() as made:
        body = {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "p", "annotations": {"tiphys.io/exit-after": "0.05", "tiphys.io/exit-code": "3"},
            },
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]},
        }  # fmt: skip
        made.kubectl("apply", "-f", "-", stdin=json.dumps(body))
        until(lambda: made.kubectl("get", "pod", "p", "-o", "jsonpath={.status.phase}") == "Failed", "it fails")


def test_nodes_are_as_they_are_asked_for() -> None:
    with tiphys.testing.cluster(SimulatedNodes(3, "big", {"cpu": "64", "memory": "1Ti", "pods": "500"})) as made:
        nodes = json.loads(made.kubectl("get", "nodes", "-o", "json"))["items"]
        assert {node["metadata"]["name"] for node in nodes} == {"big-1", "big-2", "big-3"}
        assert {node["status"]["capacity"]["cpu"] for node in nodes} == {"64"}


def test_two_at_once_share_nothing() -> None:
    with tiphys.testing.cluster() as one, tiphys.testing.cluster() as two:
        one.kubectl("create", "configmap", "only-here")
        with pytest.raises(subprocess.CalledProcessError) as caught:
            two.kubectl("get", "configmap", "only-here")
        assert "NotFound" in caught.value.stderr


def test_nothing_is_left_behind() -> None:
    before = threading.active_count()
    with tiphys.testing.cluster() as made:
        place = made.kubeconfig
    assert not Path(place).exists()
    assert threading.active_count() == before


def test_an_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kopf operator, from nothing to what it does."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**options: Any) -> Any:
        return kopf.login_with_kubeconfig(**options)

    @kopf.on.create("example.com", "v1", "wishes", registry=registry)
    def grant(spec: Any, patch: Any, **_: Any) -> None:
        patch.status["granted"] = spec["for"]

    with tiphys.testing.cluster() as made:
        monkeypatch.setenv("KUBECONFIG", str(made.kubeconfig))
        made.kubectl("apply", "-f", "-", stdin=json.dumps(_CRD))
        made.kubectl("wait", "--for=condition=Established", "crd/wishes.example.com", "--timeout=10s")
        stop = threading.Event()
        settings = kopf.OperatorSettings()
        operator = threading.Thread(
            target=kopf.run, kwargs={
                "registry": registry, "namespaces": ["default"], "stop_flag": stop, "standalone": True,
                "settings": settings,
            },
        )  # fmt: skip
        operator.start()
        try:
            wish = {"apiVersion": "example.com/v1", "kind": "Wish", "metadata": {"name": "w"}, "spec": {"for": "rain"}}
            made.kubectl("apply", "-f", "-", stdin=json.dumps(wish))
            until(lambda: made.kubectl("get", "wish", "w", "-o", "jsonpath={.status.granted}") == "rain", "granted")
        finally:
            stop.set()
            operator.join()


@pytest.mark.root
def test_up_with_simulated_nodes() -> None:
    with started("sim", "--simulate", "5") as made:
        made.kubectl("create", "deployment", "web", "--image=any/thing:1", "--replicas=10")
        made.kubectl("rollout", "status", "deployment/web", "--timeout=30s")
        assert len(made.get("nodes")["items"]) == 5
        assert "5 simulated" in made.tiphys("ls")
        shown = json.loads(made.tiphys("status", made.name, "-o", "json"))
        assert list(shown["components"]) == ["server"]
        with pytest.raises(AssertionError, match="such a cluster has no others"):
            made.tiphys("up", made.name, "--nodes", "2")
        made.tiphys("up", made.name, "--simulate", "8")
        until(lambda: len(made.get("nodes")["items"]) == 8, "there are more")
