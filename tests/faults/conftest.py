"""The fault suite: a cluster of three control planes and two workers for the session."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))
from faulty import NODES, PLANES, Faulty, ready
from real_cluster import TIPHYS, RealCluster, leftovers


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    if os.geteuid() != 0:
        pytest.skip("a real cluster needs root")
    name = f"faults-{secrets.token_hex(2)}"
    cluster = RealCluster(name, Path(f"/etc/tiphys/{name}.kubeconfig"))
    try:
        cluster.tiphys("up", name, "--control-planes", str(PLANES), "--nodes", str(NODES))
        made = Faulty(cluster)
        made.prepare(tmp_path_factory.mktemp("image"))
        ready(cluster)
        yield made
    finally:
        subprocess.run([TIPHYS, "down", name, "--purge"], check=False, timeout=120)
    assert leftovers(name) == []
