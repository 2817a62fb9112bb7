"""Containers that can never run, on a real containerd: upstream's reasons, and a rollout that is undone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_cluster import IMAGE, RealCluster, started, until

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    with started("trouble", image=Path(tmp_path_factory.mktemp("image"))) as made:
        until(lambda: "default" in made.kubectl("get", "serviceaccounts", "-o", "name"), "the default account")
        yield made


def deployment(name: str, **container: Any) -> str:
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [
            {"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent", **container}
        ]},
    }  # fmt: skip
    body = {"replicas": 2, "minReadySeconds": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": body})


def reasons(real: RealCluster, name: str) -> set[str]:
    states = [
        status["state"].get("waiting", {}).get("reason", "")
        for pod in real.get("pods", "-l", f"app={name}")["items"]
        for status in pod["status"].get("containerStatuses", ())
    ]
    return set(states)


@pytest.mark.parametrize(("name", "container", "wanted", "text"), [
    ("image", {"image": "absent.invalid/none:1"}, {"ErrImagePull", "ImagePullBackOff"}, "Failed to pull image"),
    ("command", {"command": ["/no/such/thing"]}, {"RunContainerError", "CrashLoopBackOff"}, "no such file"),
    ("crash", {"command": ["sh", "-c", "exit 3"]}, {"CrashLoopBackOff"}, "Back-off restarting failed container"),
    ("user", {"securityContext": {"runAsNonRoot": True}}, {"CreateContainerConfigError"}, "runAsNonRoot"),
])  # fmt: skip
def test_a_bad_version_is_told_of_and_undone(
    real: RealCluster, name: str, container: dict[str, Any], wanted: set[str], text: str
) -> None:
    real.kubectl("apply", "-f", "-", stdin=deployment(name))
    real.kubectl("rollout", "status", f"deployment/{name}", "--timeout=30s")
    good = {pod["metadata"]["uid"] for pod in real.get("pods", "-l", f"app={name}")["items"]}
    real.kubectl("apply", "-f", "-", stdin=deployment(name, **container))
    until(lambda: reasons(real, name) & wanted, f"a pod waits: {wanted}")

    def told() -> bool:
        return any(
            text in event["message"] and event["involvedObject"]["name"].startswith(f"{name}-")
            for event in real.get("events")["items"]
        )

    until(told, f"an event says: {text}")
    real.kubectl("rollout", "undo", f"deployment/{name}")
    real.kubectl("rollout", "status", f"deployment/{name}", "--timeout=30s")

    def left() -> bool:
        return {pod["metadata"]["uid"] for pod in real.get("pods", "-l", f"app={name}")["items"]} == good

    until(left, "the good pods were there all the time, and are left alone")


def test_a_server_that_restarts_half_way_makes_no_doubles(real: RealCluster) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}}
    real.kubectl("create", "namespace", "half")
    until(lambda: "default" in real.kubectl("get", "-n", "half", "serviceaccounts", "-o", "name"), "the account")
    real.kubectl("apply", "-n", "half", "-f", "-", stdin=json.dumps({**quota, "spec": {"hard": {"pods": "2"}}}))
    until(lambda: real.get("-n", "half", "quota", "q").get("status", {}).get("used"), "the quota counts")
    whole = json.loads(deployment("half"))
    whole["spec"]["replicas"] = 4
    real.kubectl("apply", "-n", "half", "-f", "-", stdin=json.dumps(whole))

    def refused() -> bool:
        held = real.get("-n", "half", "deployment", "half").get("status", {}).get("conditions", ())
        return any(each["type"] == "ReplicaFailure" and "exceeded quota" in each["message"] for each in held)

    until(refused, "the Deployment tells of the quota")
    real.tiphys("down", real.name)
    real.tiphys("up", real.name)
    until(lambda: len(real.get("-n", "half", "pods")["items"]) == 2, "as many as before")
    real.kubectl("apply", "-n", "half", "-f", "-", stdin=json.dumps({**quota, "spec": {"hard": {"pods": "9"}}}))
    real.kubectl("rollout", "status", "-n", "half", "deployment/half", "--timeout=90s")
    assert len(real.get("-n", "half", "pods")["items"]) == 4
