"""Faults on a real cluster: what dies comes back, and nothing that was promised is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from real_cluster import IMAGE, RealCluster, leftovers, until
from test_kubectl import web

from tiphys.node import process

pytestmark = pytest.mark.root


def containers(cluster: RealCluster, namespace: str) -> dict[str, tuple[str, int]]:
    """Container id and restart count of each pod."""
    found = {}
    for item in json.loads(cluster.kubectl("-n", namespace, "get", "pods", "-o", "json"))["items"]:
        (status,) = item["status"]["containerStatuses"]
        found[item["metadata"]["name"]] = (status["containerID"], status["restartCount"])
    return found


@pytest.fixture
def running(cluster: RealCluster, namespace: str) -> str:
    cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=web(replicas=2))
    cluster.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    return namespace


def test_server_and_agent_killed_come_back_to_everything_as_it_was(cluster, running):
    before = containers(cluster, running)
    acknowledged: list[str] = []
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            name = f"c{len(acknowledged)}"
            done = subprocess.run(
                ["kubectl", "--kubeconfig", str(cluster.kubeconfig), "-n", running, "create", "configmap", name],
                capture_output=True, check=False,
            )  # fmt: skip
            if done.returncode:
                return
            acknowledged.append(name)

    writer = threading.Thread(target=write)
    writer.start()
    until(lambda: len(acknowledged) >= 5, "some acknowledged writes")
    for role in ("server", "agent"):
        os.kill(cluster.pid(role), signal.SIGKILL)
    stop.set()
    writer.join()
    cluster.tiphys("up", cluster.name)
    until(lambda: containers(cluster, running) == before, "the same containers, none restarted")
    present = cluster.kubectl("-n", running, "get", "configmaps", "-o", "name").split()
    assert {f"configmap/{name}" for name in acknowledged} <= set(present)
    cluster.kubectl("-n", running, "scale", "deployment/web", "--replicas=3")
    cluster.kubectl("-n", running, "rollout", "status", "deployment/web", "--timeout=60s")


def test_containerd_killed_is_started_again_and_pods_survive(cluster, running):
    before = containers(cluster, running)
    pidfile = Path(f"/run/tiphys/{cluster.name}/containerd/containerd.pid")
    old = process.load(pidfile)
    assert old is not None
    os.kill(old.pid, signal.SIGKILL)
    until(lambda: (new := process.load(pidfile)) is not None and new != old, "a new containerd")
    cluster.kubectl("-n", running, "run", "after", f"--image={IMAGE}", "--restart=Never", "--", "sleep", "60")
    cluster.kubectl("-n", running, "wait", "--for=condition=Ready", "pod/after", "--timeout=60s")
    now = containers(cluster, running)
    assert {name: now[name] for name in before} == before


def test_a_killed_container_is_started_again(cluster, running):
    name, (container, _) = next(iter(containers(cluster, running).items()))
    cluster.kubectl("-n", running, "exec", name, "--", "sh", "-c", "busybox kill -9 1; busybox kill 1", check=False)
    again = until(
        lambda: (c := containers(cluster, running)[name])[1] > 0 and c[0] != container and c, "a new container"
    )
    assert again[1] == 1


def test_up_again_changes_nothing(cluster, running):
    before = (cluster.pid("server"), cluster.pid("agent"), containers(cluster, running))
    cluster.tiphys("up", cluster.name)
    assert (cluster.pid("server"), cluster.pid("agent"), containers(cluster, running)) == before


def test_a_second_cluster_lives_beside_the_first_and_leaves_nothing(cluster):
    other = f"{cluster.name}-b"
    try:
        cluster.tiphys("up", other)
        listed = cluster.tiphys("ls")
        assert other in listed
        assert cluster.name in listed
    finally:
        cluster.tiphys("down", other, "--purge")
    assert leftovers(other) == []
    assert cluster.get("nodes")["items"]


def test_a_port_in_use_is_named_and_nothing_is_left(cluster):
    name = f"{cluster.name}-c"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cluster.tiphys("up", name)
        cluster.tiphys("down", name)
        state = Path(f"/var/lib/tiphys/{name}/cluster.json")
        settings = json.loads(state.read_text())
        state.write_text(json.dumps({**settings, "api_port": port}))
        with pytest.raises(AssertionError, match=f"port {port}, where the server"):
            cluster.tiphys("up", name)
    cluster.tiphys("down", name, "--purge")
    assert leftovers(name) == []
