"""The command line of our own, through the life of an application on a real cluster."""

from __future__ import annotations

import os
import subprocess
import urllib.request

import pytest
from real_cluster import IMAGE, TIPHYS, RealCluster, until
from test_kubectl import web

pytestmark = pytest.mark.root


@pytest.fixture
def t(cluster: RealCluster, namespace: str):
    """`tiphys VERB ...` in a namespace of the test's own."""

    def run(*words: str, stdin: str | bytes = "", check: bool = True) -> str:
        environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
        done = subprocess.run(
            [TIPHYS, "-n", namespace, *words], input=stdin, capture_output=True, text=True, timeout=90, env=environment
        )
        if check and done.returncode:
            raise AssertionError(f"tiphys {' '.join(words)}: {done.stderr or done.stdout}")
        return done.stdout if check else f"{done.stdout}{done.stderr}"

    return run


def test_an_application_from_apply_to_delete(t):
    assert t("apply", "-f", "-", stdin=web()) == "deployment.apps/web created\n"
    assert t("apply", "-f", "-", stdin=web()) == "deployment.apps/web unchanged\n"
    assert 'deployment "web" successfully rolled out' in t("rollout", "status", "deployment/web", "--timeout=60s")
    t("set", "env", "deployment/web", "VERSION=v2")
    t("rollout", "status", "deployment/web", "--timeout=60s")
    assert len(t("rollout", "history", "deployment/web").strip().splitlines()) == 4
    t("rollout", "undo", "deployment/web")
    t("rollout", "status", "deployment/web", "--timeout=60s")
    assert "VERSION=v1" in t("set", "env", "deployment/web", "--list")
    t("scale", "deployment/web", "--replicas=3")
    assert t("expose", "deployment/web", "--port=80") == "service/web exposed\n"
    t("rollout", "status", "deployment/web", "--timeout=60s")
    address = t("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
        assert answer.read().decode().startswith("v1 web-")
    t("delete", "deployment/web", "service/web")
    until(lambda: "No resources found" in t("get", "pods", check=False), "all pods gone")


def test_a_pod_is_talked_to(t, tmp_path):
    assert t("run", "box", f"--image={IMAGE}", "--env=VERSION=v1") == "pod/box created\n"
    assert t("wait", "--for=condition=Ready", "pod/box", "--timeout=30s") == "pod/box condition met\n"
    assert t("logs", "box") == "ready\n"
    assert t("exec", "box", "--", "hostname") == "box\n"
    assert "command terminated with exit code 3" in t("exec", "box", "--", "sh", "-c", "exit 3", check=False)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(os.urandom(100_000))
    t("cp", str(source), "box:/tmp/x")
    t("cp", "box:/tmp/x", str(target))
    assert target.read_bytes() == source.read_bytes()
    assert "Started container" in t("describe", "pod", "box")
    t("label", "pod", "box", "tier=front")
    assert "tier=front" in t("get", "pods", "--show-labels")
    assert "box" in until(lambda: t("top", "pod"), "figures")


@pytest.mark.parametrize(
    "words",
    [
        ["get", "nodes", "-o", "wide"], ["get", "namespaces"], ["api-versions"], ["get", "nodes", "-o", "yaml"],
        ["get", "services", "-A"], ["get", "clusterroles", "-o", "name"], ["auth", "can-i", "create", "pods"],
        ["get", "nope"], ["get", "pods", "nope"], ["describe", "namespace", "default"], ["config", "view"],
        ["get", "namespaces", "-o", "custom-columns=N:.metadata.name,P:.status.phase"],
    ],
)  # fmt: skip
def test_output_is_kubectls(cluster, namespace, t, words):
    def both() -> tuple[list[str], list[str]]:
        theirs = cluster.kubectl("-n", namespace, *words, check=False)
        return _settled(t(*words, check=False)), _settled(theirs)

    ours, theirs = both()
    for _ in range(3):
        # The cluster lives on between the two; what differs for good differs every time.
        if ours != theirs:
            ours, theirs = both()
    assert ours == theirs


def _settled(text: str) -> list[str]:
    """Lines without what moves between two commands: ages and heartbeats."""
    import re

    lines = [re.sub(r"\b\d+[smh](\d+[smh])?\b", "AGE", line).rstrip() for line in text.splitlines()]
    moving = ("resourceVersion", "lastHeartbeatTime", "WARNING: version difference")
    return [re.sub(r" +", " ", line) for line in lines if not any(word in line for word in moving)]
