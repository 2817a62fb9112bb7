from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml
from real_cluster import IMAGE, until

from conformance.marks import upstream

pytestmark = pytest.mark.root

ENV = [{"name": "VERSION", "value": "v1"}]


@pytest.fixture
def kubectl(cluster, namespace):
    def run(*words: str, **options) -> str:
        return cluster.kubectl("-n", namespace, *words, **options)

    return run


def apply(kubectl, *objects: dict, verb: str = "apply") -> None:
    kubectl(verb, "-f", "-", stdin=yaml.safe_dump_all(objects))


def workload(kind: str, name: str, replicas: int, labels: dict, port: int = 80) -> dict:
    container = {
        "name": name, "image": IMAGE, "imagePullPolicy": "Never", "env": [{"name": "VERSION", "value": name}],
        "ports": [{"containerPort": port}],
    }  # fmt: skip
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}
    old = kind == "ReplicationController"
    spec = {"replicas": replicas, "selector": labels if old else {"matchLabels": labels}, "template": template}
    return {
        "apiVersion": "v1" if old else "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
    }


def service(name: str, labels: dict, port: int = 80) -> dict:
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels},
        "spec": {"selector": labels, "ports": [{"port": port}]},
    }  # fmt: skip


@upstream("[sig-cli] Kubectl client Guestbook application should create and stop a working application [Conformance]")
def test_the_guestbook(kubectl, rest, namespace):
    tiers = {name: {"app": "guestbook", "tier": name} for name in ("primary", "replica", "frontend")}
    objects = []
    for name, replicas in (("primary", 1), ("replica", 2), ("frontend", 3)):
        objects += [workload("Deployment", name, replicas, tiers[name]), service(name, tiers[name])]
    apply(kubectl, *objects, verb="create")
    for name in tiers:
        kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
    pod = kubectl("get", "pods", "-l", "tier=primary", "-o", "name").strip()
    kubectl("exec", pod, "--", "sh", "-c", "echo TestEntry > /www/entry")
    # The frontend reads through the service what the backend stored.
    front = kubectl("get", "pods", "-l", "tier=frontend", "-o", "jsonpath={.items[0].metadata.name}")
    read = ("exec", front, "--", "wget", "-q", "-O", "-", "http://primary/entry")
    until(lambda: kubectl(*read, check=False) == "TestEntry\n", "the entry through the service")
    answer = rest("GET", f"/api/v1/namespaces/{namespace}/services/frontend/proxy/")
    assert answer.body.startswith("frontend ")
    kubectl("delete", "deployments,services", "-l", "app=guestbook")
    until(lambda: not kubectl("get", "pods", "-o", "name"), "the pods gone")


@upstream("[sig-cli] Kubectl client Update Demo should create and stop a replication controller [Conformance]")
def test_a_replication_controller_runs_its_replicas(kubectl):
    apply(kubectl, workload("ReplicationController", "update-demo", 2, {"name": "update-demo"}), verb="create")
    running = ("get", "pods", "-l", "name=update-demo", "--field-selector=status.phase=Running", "-o", "name")
    until(lambda: len(kubectl(*running).split()) == 2, "two running pods")
    kubectl("delete", "rc", "update-demo")
    until(lambda: not kubectl("get", "pods", "-l", "name=update-demo", "-o", "name"), "no pod")


@upstream(
    "[sig-cli] Kubectl client Kubectl cluster-info should check if Kubernetes control plane services is included in cluster-info [Conformance]"
)
def test_cluster_info(kubectl):
    told = kubectl("cluster-info")
    assert "Kubernetes control plane" in told
    assert "is running at" in told


@upstream(
    "[sig-cli] Kubectl client Kubectl describe should check if kubectl describe prints relevant information for rc and pods [Conformance]"
)
def test_describe(kubectl, namespace):
    labels = {"app": "agnhost", "role": "primary"}
    apply(kubectl, workload("ReplicationController", "agnhost", 1, labels), service("agnhost", labels))
    pod = until(lambda: kubectl("get", "pods", "-l", "app=agnhost", "--field-selector=status.phase=Running",
                                "-o", "jsonpath={.items[*].metadata.name}"), "a running pod")  # fmt: skip
    told = kubectl("describe", "pod", pod)
    for part in (f"Name:             {pod}", f"Namespace:        {namespace}", "Labels:", "app=agnhost", "role=primary",
                 "Status:", "Running", "IP:", "Controlled By:", "ReplicationController/agnhost", "Image:", "State:",
                 "QoS Class:"):  # fmt: skip
        assert part in told
    told = kubectl("describe", "rc", "agnhost")
    for part in ("Name:", "agnhost", "Namespace:", "Selector:", "app=agnhost,role=primary", "Labels:", "Annotations:",
                 "Replicas:", "1 current", "1 desired", "Pods Status:", "1 Running", "Pod Template:", "Image:", "Events:"):  # fmt: skip
        assert part in told
    told = kubectl("describe", "service", "agnhost")
    for part in ("Name:", "Namespace:", "Labels:", "Selector:", "Type:", "ClusterIP", "IP:", "Port:", "Endpoints:",
                 "Session Affinity:"):  # fmt: skip
        assert part in told
    node = kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    told = kubectl("describe", "node", node)
    for part in ("Name:", "Labels:", "Annotations:", "CreationTimestamp:", "Conditions:", "Type", "Status",
                 "LastHeartbeatTime", "LastTransitionTime", "Reason", "Message", "Addresses:", "Capacity:", "Version",
                 "Kernel Version:", "Container Runtime Version:"):  # fmt: skip
        assert part in told.replace("System Info", "Version")
    told = kubectl("describe", "namespace", namespace)
    assert "Status:" in told
    assert "Active" in told


@upstream(
    "[sig-cli] Kubectl client Kubectl diff should check if kubectl diff finds a difference for Deployments [Conformance]"
)
def test_diff(kubectl):
    wanted = workload("Deployment", "web", 0, {"app": "web"})
    apply(kubectl, wanted, verb="create")
    wanted["spec"]["template"]["spec"]["containers"][0]["image"] = "busybox:1.29"
    told = kubectl("diff", "-f", "-", stdin=json.dumps(wanted), check=False)
    assert f"-        image: {IMAGE}" in told.replace("-      - image", "-        image")
    assert "image: busybox:1.29" in told


@upstream("[sig-cli] Kubectl client Kubectl label should update the label on a resource [Conformance]")
def test_label(kubectl):
    kubectl("run", "pause", f"--image={IMAGE}", "--restart=Never", "--env=VERSION=1")
    kubectl("wait", "--for=condition=Ready", "pod/pause", "--timeout=60s")
    kubectl("label", "pods", "pause", "testing-label=testing-label-value")
    assert "testing-label-value" in kubectl("get", "pod", "pause", "-L", "testing-label")
    kubectl("label", "pods", "pause", "testing-label-")
    assert "testing-label-value" not in kubectl("get", "pod", "pause", "-L", "testing-label")


@upstream("[sig-cli] Kubectl client Kubectl replace should update a single-container pod's image [Conformance]")
def test_replace(kubectl):
    kubectl("run", "pod", f"--image={IMAGE}", "--restart=Never", "--labels=run=pod", "--env=VERSION=1")
    kubectl("wait", "--for=condition=Ready", "pod/pod", "--timeout=60s")
    found = json.loads(kubectl("get", "pod", "pod", "-o", "json"))
    found["spec"]["containers"][0]["image"] = "other:2"
    kubectl("replace", "-f", "-", stdin=json.dumps(found))
    assert kubectl("get", "pod", "pod", "-o", "jsonpath={.spec.containers[0].image}") == "other:2"
    kubectl("delete", "pod", "pod", "--grace-period=1")


@upstream(
    "[sig-cli] Kubectl client Kubectl run pod should create a pod from an image when restart is Never [Conformance]"
)
def test_run(kubectl):
    kubectl("run", "pod", f"--image={IMAGE}", "--restart=Never")
    found = json.loads(kubectl("get", "pod", "pod", "-o", "json"))["spec"]
    assert ([c["image"] for c in found["containers"]], found["restartPolicy"]) == ([IMAGE], "Never")


@upstream(
    "[sig-cli] Kubectl client Kubectl server-side dry-run should check if kubectl can dry-run update Pods [Conformance]"
)
def test_dry_run(kubectl):
    kubectl("run", "pod", f"--image={IMAGE}", "--restart=Never", "--env=VERSION=1")
    patch = json.dumps({"spec": {"containers": [{"name": "pod", "image": "other:2"}]}})
    assert "patched" in kubectl("patch", "pod", "pod", "-p", patch, "--dry-run=server")
    assert kubectl("get", "pod", "pod", "-o", "jsonpath={.spec.containers[0].image}") == IMAGE
    kubectl("delete", "pod", "pod", "--dry-run=server")
    kubectl("get", "pod", "pod")


@upstream("[sig-cli] Kubectl client Kubectl version should check is all data is printed [Conformance]")
def test_version(kubectl):
    told = json.loads(kubectl("version", "-o", "json"))
    for side in ("clientVersion", "serverVersion"):
        for field in (
            "major",
            "minor",
            "gitVersion",
            "gitCommit",
            "gitTreeState",
            "buildDate",
            "goVersion",
            "compiler",
            "platform",
        ):
            assert told[side][field], (side, field)
    assert told["serverVersion"]["minor"].startswith("36")


@contextmanager
def proxied(cluster, *flags: str) -> Iterator[str]:
    """The first line that `kubectl proxy` says."""
    command = ["kubectl", "--kubeconfig", str(cluster.kubeconfig), "proxy", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline()
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@upstream("[sig-cli] Kubectl client Proxy server should support proxy with --port 0 [Conformance]")
def test_proxy_on_any_port(cluster):
    with proxied(cluster, "-p", "0", "--disable-filter") as line:
        port = line.rpartition(":")[2].strip()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/") as answer:
            assert json.load(answer)["versions"] == ["v1"]


@upstream("[sig-cli] Kubectl client Proxy server should support --unix-socket=/path [Conformance]")
def test_proxy_on_a_socket(cluster, tmp_path):
    path = tmp_path / "proxy"
    with proxied(cluster, f"--unix-socket={path}"):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(path))
        connection.request("GET", "/api/")
        assert json.load(connection.getresponse())["versions"] == ["v1"]
        connection.close()


@upstream("[sig-cli] Kubectl logs logs should be able to retrieve and filter logs [Conformance]")
def test_logs(kubectl):
    script = "echo first; echo second; while true; do echo tick; sleep 0.3; done"
    container = {"name": "c", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", script]}
    apply(kubectl, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
                    "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}})  # fmt: skip
    kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=60s")
    until(lambda: kubectl("logs", "p").startswith("first\nsecond\ntick"), "its first lines")
    assert kubectl("logs", "p", "--tail=1") == "tick\n"
    assert len(kubectl("logs", "p", "--limit-bytes=1")) == 1
    stamp, word = kubectl("logs", "p", "--tail=1", "--timestamps").split()
    assert time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")
    assert word == "tick"
    until(lambda: len(kubectl("logs", "p").splitlines()) > 6, "more ticks")
    recent, old = (len(kubectl("logs", "p", f"--since={span}").splitlines()) for span in ("1s", "24h"))
    assert recent < old
