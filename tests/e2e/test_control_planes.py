"""Three control planes on one machine: one after the other may die, be taken away, be replaced; users notice little."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_cluster import TIPHYS, RealCluster, started, until
from test_kubectl import web

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    directory = tmp_path_factory.mktemp("image")
    with started("planes", "--control-planes", "3", "--nodes", "4", image=directory) as made:
        made.kubectl("apply", "-f", "-", stdin=web("web", 4))
        made.kubectl("expose", "deployment", "web", "--port=80")
        made.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        yield made


def leader(planes: RealCluster) -> str:
    lease = planes.get("-n", "kube-system", "lease", "kube-controller-manager")
    found: str = lease["spec"]["holderIdentity"]
    return found


def directory(planes: RealCluster, node: str) -> str:
    """The pidfiles of a control plane, as a role's prefix."""
    return f"nodes/{node.rpartition('-')[2]}/" if node.startswith(f"{planes.name}-") else ""


def end(planes: RealCluster, node: str, *roles: str, number: int = signal.SIGKILL) -> None:
    for role in roles:
        os.kill(planes.pid(directory(planes, node) + role), number)


class Visitor:
    """Asks the app for its page again and again, and counts what fails."""

    def __init__(self, address: str) -> None:
        self._url, self._stop = f"http://{address}/", threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answers, self.failures = 0, []

    def __enter__(self) -> Visitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            try:
                with urllib.request.urlopen(self._url, timeout=5) as answer:
                    answer.read()
                self.answers += 1
            except OSError as error:
                self.failures.append(str(error))


def test_three_servers_answer_and_one_leads(planes: RealCluster):
    endpoints = planes.get("endpoints", "kubernetes")["subsets"][0]["addresses"]
    assert len(endpoints) == 3
    assert leader(planes) in {node["metadata"]["name"] for node in planes.get("nodes")["items"]}
    shown = planes.tiphys("status", planes.name)
    assert all(f"etcd-{number}" in shown for number in (2, 3))


@pytest.mark.parametrize("turn", [1, 2])
def test_the_app_and_kubectl_go_on_when_the_leader_dies(planes: RealCluster, turn: int):
    app = planes.get("service", "web")["spec"]["clusterIP"]
    last = leader(planes)
    with Visitor(app) as visitor:
        end(planes, last, "server", "etcd", "agent")
        until(lambda: "web" in planes.kubectl("get", "deployments", check=False), "kubectl works again", 20)
        next_ = until(lambda: (found := leader(planes)) != last and found, "another one leads", 20)
        assert next_ != last
        replicas = str(4 + turn)
        planes.kubectl("scale", "deployment/web", f"--replicas={replicas}")
        until(lambda: planes.get("deployment", "web")["status"].get("readyReplicas", 0) >= int(replicas), "scaled", 60)
        until(lambda: visitor.answers > 100, "visits")
        planes.tiphys("up", planes.name)
    assert visitor.failures == []
    until(lambda: len(planes.get("endpoints", "kubernetes")["subsets"][0]["addresses"]) == 3, "three servers again")


def test_an_acknowledged_write_survives_the_server_that_acknowledged_it(planes: RealCluster):
    planes.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    end(planes, leader(planes), "server", "etcd")
    until(lambda: "kept" in planes.kubectl("get", "configmap", "kept", check=False), "the write is there", 20)
    planes.tiphys("up", planes.name)


def test_a_control_plane_is_removed_and_replaced(planes: RealCluster):
    gone = f"{planes.name}-3"
    planes.tiphys("node", "remove", gone, planes.name)
    assert gone not in planes.kubectl("get", "nodes")
    until(lambda: len(planes.get("endpoints", "kubernetes")["subsets"][0]["addresses"]) == 2, "two servers")
    assert leader(planes) != gone
    planes.tiphys("up", planes.name)
    assert gone not in planes.kubectl("get", "nodes")
    planes.tiphys("up", planes.name, "--control-planes", "3")
    assert gone in planes.kubectl("get", "nodes")
    until(lambda: len(planes.get("endpoints", "kubernetes")["subsets"][0]["addresses"]) == 3, "three servers")
    # It has a vote: without one of the others there is still a majority.
    end(planes, f"{planes.name}-2", "server", "etcd")
    until(lambda: "created" in planes.kubectl("create", "configmap", f"c-{secrets.token_hex(3)}", check=False),
          "writes go on", 20)  # fmt: skip
    planes.tiphys("up", planes.name)


def containers(planes: RealCluster) -> set[str]:
    """Those that run; a node that was replaced has not got the tests' image."""
    pods = planes.get("pods")["items"]
    return {status.get("containerID", "") for pod in pods for status in pod["status"].get("containerStatuses", ())}


def test_an_upgrade_goes_from_process_to_process(planes: RealCluster):
    roles = [f"{place}{role}" for place in ("", "nodes/2/", "nodes/3/") for role in ("server", "agent")]
    before, running = {role: planes.pid(role) for role in roles}, containers(planes)
    with Visitor(planes.get("service", "web")["spec"]["clusterIP"]) as visitor:
        planes.tiphys("upgrade", planes.name)
    assert visitor.failures == []
    assert all(planes.pid(role) != pid for role, pid in before.items())
    assert containers(planes) == running
    assert list((Path("/var/lib/tiphys") / planes.name / "upgrades").iterdir())


def test_an_upgrade_does_not_begin_where_something_is_not_well(planes: RealCluster):
    end(planes, f"{planes.name}-2", "agent")
    done = subprocess.run([TIPHYS, "upgrade", planes.name], capture_output=True, text=True, check=False)
    planes.tiphys("up", planes.name)
    assert done.returncode == 1
    assert "agent-2 does not run" in done.stdout + done.stderr


def test_a_majority_is_not_given_away(planes: RealCluster):
    end(planes, f"{planes.name}-2", "server", "etcd")
    done = subprocess.run(
        [TIPHYS, "node", "remove", f"{planes.name}-3", planes.name], capture_output=True, text=True, check=False
    )
    planes.tiphys("up", planes.name)
    assert done.returncode == 1
    assert "no majority" in done.stdout + done.stderr


def test_a_lost_member_begins_anew(planes: RealCluster):
    """The disk of one control plane is gone: it joins again as somebody new, and does not vote with an empty memory."""
    node = f"{planes.name}-2"
    end(planes, node, "server", "etcd")
    state = Path("/var/lib/tiphys") / planes.name / "nodes" / "2" / "etcd"
    subprocess.run(["rm", "-rf", str(state)], check=True)
    planes.tiphys("up", planes.name)
    until(lambda: len(planes.get("endpoints", "kubernetes")["subsets"][0]["addresses"]) == 3, "three servers")
    planes.kubectl("get", "configmap", "kept")
