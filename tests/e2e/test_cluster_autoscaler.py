"""Nodes inside this machine that come for pods without a place, and go when they are not needed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_cluster import IMAGE, TIPHYS, RealCluster, started, until

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    with started("auto", "--max-nodes", "2", "--scale-down-after", "1", image=tmp_path_factory.mktemp("image")) as made:
        yield made


def nodes(cluster: RealCluster) -> list[str]:
    return [node["metadata"]["name"] for node in cluster.get("nodes")["items"]]


def greedy(cluster: RealCluster, replicas: int) -> str:
    """Each takes more than half of a node."""
    [own] = cluster.get("nodes")["items"]
    cores = int(own["status"]["allocatable"]["cpu"])
    container = {
        "name": "c", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sleep", "1000"],
        "resources": {"requests": {"cpu": f"{cores * 550}m"}},
    }  # fmt: skip
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    template = {"metadata": {"labels": {"app": "greedy"}}, "spec": spec}
    return json.dumps({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "greedy"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "greedy"}}, "template": template},
    })  # fmt: skip


def test_a_node_comes_for_pods_and_goes_after_them(scaled: RealCluster) -> None:
    assert len(nodes(scaled)) == 1
    scaled.kubectl("apply", "-f", "-", stdin=greedy(scaled, 3))
    until(lambda: len(nodes(scaled)) == 2, "a second node", 60)

    def placed() -> set[str]:
        pods = scaled.get("pods", "-l", "app=greedy")["items"]
        return {pod["spec"].get("nodeName", "") for pod in pods}

    # Two have a place, the third would need more nodes than there may be.
    until(lambda: placed() == {*nodes(scaled), ""}, "both nodes are used", 30)
    until(lambda: "max node group size reached" in scaled.kubectl("get", "events"), "why no third", 30)
    assert "TriggeredScaleUp" in scaled.kubectl("get", "events")
    scaled.kubectl("scale", "deployment/greedy", "--replicas=0")
    until(lambda: len(nodes(scaled)) == 1, "the second node is gone", 90)
    assert not Path(f"/run/tiphys/{scaled.name}/nodes/2").exists()


def test_a_new_node_has_the_images_that_were_built_here(scaled: RealCluster) -> None:
    done = subprocess.run([TIPHYS, "up", scaled.name, "--nodes", "2"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "not shared" not in done.stderr
    [other] = [name for name in nodes(scaled) if name.endswith("-2")]
    spec = {"nodeName": other, "containers": [
        {"name": "c", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sleep", "1000"]}
    ]}  # fmt: skip
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "there"}, "spec": spec}
    scaled.kubectl("apply", "-f", "-", stdin=json.dumps(pod))

    def ready() -> bool:
        conditions = scaled.get("pod", "there")["status"].get("conditions", ())
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    until(ready, "Ready on the new node", 60)
