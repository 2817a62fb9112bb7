"""A cluster whose state is in a real etcd: it works, and it comes through the death of etcd and of the server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_cluster import RealCluster, started, until

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def on_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    with started("etcd", "--store", "etcd", image=tmp_path_factory.mktemp("image")) as made:
        yield made


def test_pods_run_on_it(on_etcd: RealCluster):
    from real_cluster import IMAGE

    on_etcd.kubectl("create", "deployment", "web", f"--image={IMAGE}", "--replicas=2")
    on_etcd.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert "etcd" in on_etcd.tiphys("status", on_etcd.name)


def test_nothing_acknowledged_is_lost_when_etcd_is_killed(on_etcd: RealCluster):
    on_etcd.kubectl("create", "configmap", "before", "--from-literal=a=b")
    os.kill(on_etcd.pid("etcd"), signal.SIGKILL)
    # The server starts it again.
    until(lambda: on_etcd.kubectl("create", "configmap", "after", check=False).endswith("created\n"), "a write")
    assert on_etcd.get("configmap", "before")["data"] == {"a": "b"}
    # Watches went on: controllers see what is written now.
    on_etcd.kubectl("scale", "deployment", "web", "--replicas=3")
    on_etcd.kubectl("rollout", "status", "deployment/web", "--timeout=60s")


def test_a_killed_server_finds_its_state_again(on_etcd: RealCluster):
    before = on_etcd.get("pods", "-l", "app=web")["items"]
    os.kill(on_etcd.pid("server"), signal.SIGKILL)
    on_etcd.tiphys("up", on_etcd.name)
    after = on_etcd.get("pods", "-l", "app=web")["items"]
    assert {pod["metadata"]["uid"] for pod in after} == {pod["metadata"]["uid"] for pod in before}


def test_the_store_of_a_cluster_is_chosen_once(on_etcd: RealCluster):
    with pytest.raises(AssertionError, match="keeps its state in etcd"):
        on_etcd.tiphys("up", on_etcd.name, "--store", "sqlite")


def test_nobody_else_may_open_its_etcd(on_etcd: RealCluster):
    pki = Path(f"/var/lib/tiphys/{on_etcd.name}/pki")
    port = next(
        word.rpartition(":")[2]
        for word in Path(f"/proc/{on_etcd.pid('etcd')}/cmdline").read_text().split("\0")
        if word.startswith("https://127.0.0.1:")
    )
    for certificate in ((), (f"--cert={pki}/admin.crt", f"--key={pki}/admin.key")):
        command = [
            "etcdctl", "--dial-timeout=1s", "--command-timeout=2s", f"--endpoints=https://127.0.0.1:{port}",
            f"--cacert={pki}/etcd-ca.crt", *certificate, "get", "/",
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "ETCDCTL_API": "3"}, check=False
        )
        assert done.returncode != 0


def test_it_grows_to_three_control_planes(on_etcd: RealCluster):
    on_etcd.kubectl("create", "configmap", "old", "--from-literal=a=b")
    on_etcd.tiphys("up", on_etcd.name, "--control-planes", "3")
    assert on_etcd.get("configmap", "old")["data"] == {"a": "b"}
    members = json.loads(on_etcd.tiphys("status", on_etcd.name, "-o", "json"))["store"]["members"]
    assert sorted(member["state"] for member in members) == ["follower", "follower", "leader"]
    until(lambda: len(on_etcd.get("endpoints", "kubernetes")["subsets"][0]["addresses"]) == 3, "three servers")
