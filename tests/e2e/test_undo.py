"""History, undelete and rollback on a real cluster: what a slip of the finger took is there again."""

from __future__ import annotations

import json
import secrets
import subprocess

import pytest
from real_cluster import TIPHYS, RealCluster, until

pytestmark = pytest.mark.root


@pytest.fixture
def shop(cluster: RealCluster) -> str:
    name = f"shop-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("-n", name, "create", "configmap", "prices", "--from-literal=apple=1")
    cluster.kubectl("-n", name, "create", "deployment", "web", "--image=nowhere/web:1", "--replicas=2")
    cluster.kubectl("-n", name, "expose", "deployment", "web", "--port=80")
    return name


def undo(cluster: RealCluster, *words: str) -> str:
    return cluster.tiphys(*words, "--cluster", cluster.name)


def changed_at(cluster: RealCluster, namespace: str, what: str, field: str) -> int:
    """The revision of the first change that touched a field."""
    told = json.loads(undo(cluster, "history", what, "-n", namespace, "-o", "json"))
    return next(row["revision"] for row in told if any(field in text for text in row["fields"]))


def test_history_tells_who_changed_what(cluster: RealCluster, shop: str):
    cluster.kubectl("-n", shop, "scale", "deployment", "web", "--replicas=5")
    at = changed_at(cluster, shop, "deploy/web", "spec.replicas")
    told = undo(cluster, "history", "deploy/web", "-n", shop)
    assert "created  kubectl-create" in told
    assert "spec.replicas: 2 -> 5" in told
    assert "replicas: 2" in undo(cluster, "history", "deploy/web", "-n", shop, "--revision", str(at - 1))


def test_rollback_of_a_namespace(cluster: RealCluster, shop: str):
    cluster.kubectl("-n", shop, "patch", "configmap", "prices", "-p", '{"data":{"apple":"1000"}}')
    at = changed_at(cluster, shop, "configmap/prices", "data.apple")
    cluster.kubectl("-n", shop, "delete", "service", "web")
    cluster.kubectl("-n", shop, "create", "configmap", "new")
    words = ("rollback", "-n", shop, "--revision", str(at - 1))
    planned = undo(cluster, *words, "--dry-run")
    assert "restore  configmap/prices: data.apple: 1000 -> 1" in planned
    assert cluster.get("-n", shop, "configmap", "prices")["data"] == {"apple": "1000"}
    undo(cluster, *words, "--yes")
    assert cluster.get("-n", shop, "configmap", "prices")["data"] == {"apple": "1"}
    cluster.kubectl("-n", shop, "get", "service", "web")
    assert "NotFound" in cluster.kubectl("-n", shop, "get", "configmap", "new", check=False)


def test_a_deleted_namespace_comes_back_with_what_was_in_it(cluster: RealCluster, shop: str):
    cluster.kubectl("-n", shop, "patch", "configmap", "prices", "-p", '{"data":{"apple":"2"}}')
    changed_at(cluster, shop, "configmap/prices", "data.apple")
    cluster.kubectl("delete", "namespace", shop)
    assert "deleted" in undo(cluster, "history", f"namespace/{shop}")
    undo(cluster, "undelete", f"namespace/{shop}")
    assert cluster.get("-n", shop, "configmap", "prices")["data"] == {"apple": "2"}
    until(lambda: len(cluster.get("-n", shop, "pods")["items"]) == 2, "the deployment makes its pods")
    cluster.kubectl("-n", shop, "get", "service", "web")


def test_what_is_there_is_not_undeleted_and_a_slip_is_told(cluster: RealCluster, shop: str):
    for words, told in (
        (("undelete", "configmap/prices", "-n", shop), "was not deleted"),
        (("undelete", "configmap/none", "-n", shop), "the history knows no configmap/none"),
        (("undelete", "prices", "-n", shop), "write KIND/NAME"),
        (("rollback", "-n", shop, "--to", "2001-01-01T00:00:00Z"), "is before it"),
    ):
        done = subprocess.run(
            [TIPHYS, *words, "--cluster", cluster.name], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 1
        assert told in done.stderr
