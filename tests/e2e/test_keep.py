"""A keeper starts what ends, ends what it started, and gives way to whoever takes the cluster down."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_cluster import IMAGE, TIPHYS, RealCluster, build_image, leftovers, until

from tiphys.node import process

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


class Kept:
    def __init__(self, name: str, log: Path) -> None:
        self.cluster = RealCluster(name, Path(f"/etc/tiphys/{name}.kubeconfig"))
        self._log = log
        self.keeper: subprocess.Popen[Any] | None = None

    def start(self) -> None:
        with self._log.open("ab") as output:
            self.keeper = subprocess.Popen([TIPHYS, "keep", self.cluster.name], stdout=output, stderr=output)
        until(self.runs, "server, agent and a node that is Ready", 60)

    def alive(self, role: str) -> int:
        """The process, 0 if there is none."""
        found = process.load(Path(f"/run/tiphys/{self.cluster.name}/{role}.pid"))
        return found.pid if found is not None else 0

    def runs(self) -> bool:
        nodes = self.cluster.kubectl("get", "nodes", "--no-headers", check=False).split()
        return bool(self.alive("server") and self.alive("agent")) and "Ready" in nodes

    def ended(self) -> int:
        assert self.keeper is not None
        return self.keeper.wait(60)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(f"kept-{secrets.token_hex(3)}", tmp_path / "keeper.log")
    try:
        made.start()
        yield made
    finally:
        subprocess.run([TIPHYS, "down", made.cluster.name, "--purge"], check=False, timeout=120)
        if made.keeper is not None and made.keeper.poll() is None:
            made.keeper.kill()
    assert leftovers(made.cluster.name) == []


def test_what_ends_comes_back_and_pods_do_not_notice(kept: Kept, tmp_path: Path) -> None:
    cluster = kept.cluster
    build_image(cluster, tmp_path)
    cluster.kubectl("run", "web", f"--image={IMAGE}")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    container = cluster.get("pod", "web")["status"]["containerStatuses"][0]["containerID"]
    for role in ("agent", "server"):
        old = kept.alive(role)
        os.kill(old, signal.SIGKILL)
        until(lambda role=role, old=old: kept.alive(role) not in (0, old), f"another {role}", 60)
    until(kept.runs, "all runs", 60)

    # A second keeper would only be in the way.
    assert subprocess.run([TIPHYS, "keep", cluster.name], check=False, timeout=30).returncode == 1

    # Ended as a service is: what it started ends, and the next finds the pods as they were.
    assert kept.keeper is not None
    kept.keeper.send_signal(signal.SIGTERM)
    assert kept.ended() == 0
    assert not kept.alive("server")
    assert not kept.alive("agent")
    kept.start()
    cluster.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    assert cluster.get("pod", "web")["status"]["containerStatuses"][0]["containerID"] == container

    # The machine goes down: nothing comes back before the next `up`.
    cluster.tiphys("node", "shutdown", cluster.name)
    until(lambda: not kept.alive("agent"), "the agent has ended")
    assert cluster.get("pod", "web")["status"]["phase"] == "Failed"
    assert kept.keeper.poll() is None
    assert not kept.alive("agent")
    cluster.tiphys("up", cluster.name)
    old = kept.alive("agent")
    os.kill(old, signal.SIGKILL)
    until(lambda: kept.alive("agent") not in (0, old), "another agent", 60)

    cluster.tiphys("down", cluster.name)
    assert kept.ended() == 0
    assert not kept.alive("server")
