"""A real cluster for the whole session: `tiphys up` under a name of its own, and nothing left of it afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from real_cluster import RealCluster, started, until


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    with started("test", image=tmp_path_factory.mktemp("image")) as made:
        yield made


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """A cluster of two nodes: the machine, and one in namespaces of its own."""
    with started("nodes", "--nodes", "2", image=tmp_path_factory.mktemp("image")) as made:
        yield made


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
