"""A real cluster for the whole session: `tiphys up` under a name of its own, and nothing left of it afterwards."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_cluster import TIPHYS, RealCluster, build_image, leftovers, until


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    if os.geteuid() != 0:
        pytest.skip("a real cluster needs root")
    name = f"test-{secrets.token_hex(3)}"
    made = RealCluster(name, Path(f"/etc/tiphys/{name}.kubeconfig"))
    try:
        made.tiphys("up", name)
        build_image(made, tmp_path_factory.mktemp("image"))
        yield made
    finally:
        subprocess.run([TIPHYS, "down", name, "--purge"], check=False, timeout=120)
    assert leftovers(name) == []


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """A cluster of two nodes: the machine, and one in namespaces of its own."""
    if os.geteuid() != 0:
        pytest.skip("a real cluster needs root")
    name = f"nodes-{secrets.token_hex(3)}"
    made = RealCluster(name, Path(f"/etc/tiphys/{name}.kubeconfig"))
    try:
        made.tiphys("up", name, "--nodes", "2")
        build_image(made, tmp_path_factory.mktemp("image"))
        yield made
    finally:
        subprocess.run([TIPHYS, "down", name, "--purge"], check=False, timeout=120)
    assert leftovers(name) == []


@pytest.fixture
def namespace(cluster: RealCluster) -> Iterator[str]:
    yield from _namespace(cluster)


@pytest.fixture
def space(nodes: RealCluster) -> Iterator[str]:
    """A namespace on the cluster of two nodes."""
    yield from _namespace(nodes)


def _namespace(cluster: RealCluster) -> Iterator[str]:
    name = f"ns-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    until(
        lambda: cluster.kubectl("-n", name, "get", "serviceaccount", "default", "--ignore-not-found"),
        "a default account",
    )
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
