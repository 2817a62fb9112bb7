"""Our command line against the machine's kubectl: the same words, the same output and exit code, on one cluster."""

from __future__ import annotations

import os
import re
import shlex
import subprocess

import pytest
from real_cluster import IMAGE, TIPHYS, RealCluster, until

pytestmark = pytest.mark.root

# What differs by nature: how old things are, and the widths that follow from it.
_AGE = re.compile(r"\b(\d+[smhd])+\b")
SAME = [
    "get pods", "get pods -o wide", "get pods,services", "get all", "get all -A", "get nodes", "get pods --show-labels",
    "get pods -L app --no-headers", "get deploy/web service/web", "get pods -o name", "get deployment web -o yaml",
    "get deployment web -o json", "get pods -o yaml", "get configmap settings -o yaml", "get pods -l app=none",
    "get pods --field-selector=status.phase=Failed", "get clusterroles --sort-by=.metadata.name",
    "get deploy web -o jsonpath='{.spec.template.spec.containers[0].image}'",
    "get pods -o jsonpath='{range .items[*]}{.metadata.name}{\"\\t\"}{.status.phase}{\"\\n\"}{end}'",
    "get pods -o custom-columns=NAME:.metadata.name,IMAGE:.spec.containers[*].image,NO:.nope",
    "get pods -o go-template='{{range .items}}{{.metadata.name}}{{\"\\n\"}}{{end}}'",
    "get pod nope", "get pod nope --ignore-not-found", "get nope", "get pods -o nope", "get pods/a b", "get",
    "describe deployment web", "describe service web", "describe configmap single", "describe secret hidden",
    "describe clusterrole view", "describe clusterrolebinding cluster-admin", "describe pod nope",
    "delete pod nope", "scale deployment web --replicas=1", "set image deployment/web web=other --dry-run=client",
    "label deployment web tier=front --dry-run=client", "rollout history deployment/web",
    "rollout status deployment/web",
    "rollout resume deployment/web", "apply view-last-applied deployment/web", "wait --for=delete pod/nope",
    "auth can-i create pods", "auth can-i create pods --as=nobody", "api-versions", "explain pod.spec.nodeName",
    "logs deployment/web", "exec deployment/web -- echo hello", "exec deployment/web -- sh -c 'exit 7'",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(cluster: RealCluster):
    """A namespace with an application in it."""
    name = "same"
    cluster.kubectl("create", "namespace", name)
    until(lambda: cluster.kubectl("-n", name, "get", "serviceaccount", "default", "--ignore-not-found"), "an account")
    manifest = cluster.kubectl("create", "deployment", "web", f"--image={IMAGE}", "--dry-run=client", "-o", "yaml")
    cluster.kubectl("-n", name, "apply", "-f", "-", stdin=manifest)
    cluster.kubectl("-n", name, "expose", "deployment", "web", "--port=80")
    cluster.kubectl("-n", name, "create", "configmap", "settings", "--from-literal=a=b", "--from-literal=c=two\nlines")
    # Of several keys kubectl describes whichever its hash table gives first.
    cluster.kubectl("-n", name, "create", "configmap", "single", "--from-literal=c=two\nlines")
    cluster.kubectl("-n", name, "create", "secret", "generic", "hidden", "--from-literal=key=value")
    cluster.kubectl("-n", name, "rollout", "status", "deployment/web", "--timeout=60s")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize("words", SAME)
def test_the_same_as_kubectl(cluster: RealCluster, place: str, words: str):
    def said(*program: str) -> tuple[int, str, str]:
        environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
        command = [*program, "-n", place, *shlex.split(words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
        return done.returncode, _ageless(done.stdout), _ageless(done.stderr)

    ours, theirs = said(str(TIPHYS), "kubectl"), said("kubectl")
    for _ in range(3):
        # The cluster lives on between the two; what differs for good differs every time.
        if ours == theirs:
            break
        ours, theirs = said(str(TIPHYS), "kubectl"), said("kubectl")
    assert ours == theirs


def _ageless(text: str) -> str:
    aged = _AGE.sub("AGE", text)
    return text if aged == text else re.sub(r" +", " ", aged)
