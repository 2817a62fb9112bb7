"""Templates that can never run, on real containers: the cause is named, tries grow rarer, and mending them helps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from real_cluster import IMAGE, RealCluster, started, until

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    with started("wrong", image=tmp_path_factory.mktemp("image")) as made:
        yield made


def deployment(name: str, **container: Any) -> str:
    made = {"name": "c", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sleep", "1000"], **container}
    spec = {"containers": [made], "terminationGracePeriodSeconds": 0}
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": spec}
    body = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": body})


def waiting(cluster: RealCluster, name: str) -> dict[str, str]:
    """Why the container of the newest pod waits."""
    pods = cluster.get("pods", "-l", f"app={name}")["items"]
    statuses = [status for pod in pods for status in pod["status"].get("containerStatuses", ())]
    return next((status["state"]["waiting"] for status in statuses if "waiting" in status["state"]), {})


def events(cluster: RealCluster, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cluster.get("events")["items"]
    return [event for event in found if event["involvedObject"]["name"].startswith(f"{name}-")]


@pytest.mark.parametrize(
    ("name", "wrong", "reasons", "words", "right"),
    [
        ("image", {"image": "none.example/none:1"}, {"ErrImageNeverPull"}, "not present", {"image": IMAGE}),
        ("command", {"command": ["/no/such/program"]}, {"RunContainerError", "CrashLoopBackOff"}, "no such file",
         {"command": ["sleep", "1000"]}),
        ("crash", {"command": ["false"]}, {"CrashLoopBackOff"}, "back-off", {"command": ["sleep", "1000"]}),
        ("config", {"envFrom": [{"configMapRef": {"name": "late"}}]}, {"CreateContainerConfigError"}, "late", None),
    ],
)  # fmt: skip
def test_it_is_named_and_can_be_mended(
    cluster: RealCluster, name: str, wrong: dict[str, Any], reasons: set[str], words: str, right: dict[str, Any] | None
) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=deployment(name, **wrong))
    seen: set[str] = set()

    def named() -> bool:
        found = waiting(cluster, name)
        if words in found.get("message", "") or any(words in event["message"] for event in events(cluster, name)):
            seen.add(found.get("reason", ""))
        return bool(seen & reasons)

    until(named, f"{name}: {reasons}", 60)
    assert any(event["type"] == "Warning" for event in events(cluster, name))
    # Nobody is told of it again and again.
    assert len(events(cluster, name)) < 20
    if right is None:
        cluster.kubectl("create", "configmap", "late", "--from-literal=a=b")
    else:
        cluster.kubectl("apply", "-f", "-", stdin=deployment(name, **right))
    cluster.kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
    cluster.kubectl("delete", "deployment", name)
