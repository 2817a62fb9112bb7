"""An unmodified kubectl against a real cluster: every everyday verb, on real containers."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import yaml
from real_cluster import IMAGE, RealCluster, build_image, until

pytestmark = pytest.mark.root


def web(name: str = "web", replicas: int = 2, version: str = "v1") -> str:
    """A Deployment that serves a page; its pods end within a second."""
    container = {
        "name": "web", "image": IMAGE, "ports": [{"name": "http", "containerPort": 80}],
        "env": [{"name": "VERSION", "value": version}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
    }  # fmt: skip
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
    return yaml.safe_dump(body)


@pytest.fixture
def k(cluster: RealCluster, namespace: str):
    """kubectl in a namespace of the test's own."""

    def run(*words: str, **options) -> str:
        return cluster.kubectl("-n", namespace, *words, **options)

    return run


@pytest.fixture
def pod(k) -> str:
    k("run", "box", f"--image={IMAGE}", "--env=VERSION=v1", "--labels=app=box")
    k("wait", "--for=condition=Ready", "pod/box", "--timeout=30s")
    return "box"


def test_run_get_describe_and_delete(k, pod):
    assert "Running" in k("get", "pod", pod, "-o", "wide")
    assert "NOMINATED NODE" in k("get", "pod", pod, "-o", "wide")
    described = k("describe", "pod", pod)
    assert f"Image:          {IMAGE}" in described
    assert "Started container" in described
    k("delete", "pod", pod)
    assert "NotFound" in k("get", "pod", pod, check=False)


def test_logs_follow_what_a_container_says(cluster, namespace, k, pod):
    assert k("logs", pod).splitlines() == ["ready"]
    k(
        "run",
        "talker",
        f"--image={IMAGE}",
        "--restart=Never",
        "--",
        "sh",
        "-c",
        "for i in 1 2 3; do echo $i; sleep 0.3; done",
    )
    k("wait", "--for=jsonpath={.status.phase}=Running", "pod/talker", "--timeout=20s")
    assert k("logs", "-f", "talker").split() == ["1", "2", "3"]
    assert k("logs", "--tail=1", "talker").split() == ["3"]


def test_exec_passes_input_output_and_exit_codes(k, pod):
    assert k("exec", pod, "--", "hostname").strip() == pod
    assert k("exec", "-i", pod, "--", "cat", stdin="hello") == "hello"
    assert "exit code 3" in k("exec", pod, "--", "sh", "-c", "exit 3", check=False)


def test_exec_with_a_terminal(cluster, namespace, pod):
    main, child = pty.openpty()
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "TERM": "xterm"}
    command = ["kubectl", "-n", namespace, "exec", "-it", pod, "--", "sh"]
    process = subprocess.Popen(
        command, stdin=child, stdout=child, stderr=child, env=environment, start_new_session=True
    )
    os.close(child)
    try:
        os.write(main, b"echo $((6 * 7))-answer; test -t 0 && echo is-a-terminal; exit\n")
        seen = b""
        deadline = time.monotonic() + 20
        while b"is-a-terminal\r\n" not in seen.replace(b"echo is-a-terminal", b"") and time.monotonic() < deadline:
            if select.select([main], [], [], 0.2)[0]:
                seen += os.read(main, 4096)
        assert b"42-answer" in seen
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(main)


def test_port_forward(cluster, namespace, pod):
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    command = ["kubectl", "-n", namespace, "port-forward", f"pod/{pod}", ":80"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        port = process.stdout.readline().split(" ->")[0].rpartition(":")[2]
        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                assert answer.read().decode().split() == ["v1", pod]
    finally:
        process.terminate()
        process.wait()


def test_cp_both_ways(k, pod, tmp_path):
    source, target = tmp_path / "here", tmp_path / "back"
    source.write_bytes(os.urandom(200_000))
    k("cp", str(source), f"{pod}:/tmp/there")
    k("cp", f"{pod}:/tmp/there", str(target))
    assert target.read_bytes() == source.read_bytes()


def test_apply_diff_edit_and_explain(k, namespace, cluster, tmp_path):
    k("apply", "-f", "-", stdin=web())
    assert "unchanged" in k("apply", "-f", "-", stdin=web())
    assert "+  replicas: 3" in k("diff", "-f", "-", stdin=web(replicas=3), check=False)
    k("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=web(replicas=3))
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/replicas: 3/replicas: 1/' \"$1\"\n")
    editor.chmod(0o755)
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "KUBE_EDITOR": str(editor)}
    command = ["kubectl", "-n", namespace, "edit", "deployment", "web"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=30)
    assert k("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "1"
    assert "rollingUpdate" in k("explain", "deployment.spec.strategy")


def test_rollouts_go_forward_and_back(k):
    k("apply", "-f", "-", stdin=web())
    k("rollout", "status", "deployment/web", "--timeout=60s")
    k("set", "env", "deployment/web", "VERSION=v2")
    k("rollout", "status", "deployment/web", "--timeout=60s")
    assert len(k("rollout", "history", "deployment/web").strip().splitlines()) == 4
    k("rollout", "undo", "deployment/web")
    k("rollout", "status", "deployment/web", "--timeout=60s")
    found = json.loads(k("get", "deployment", "web", "-o", "json"))
    assert found["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "VERSION", "value": "v1"}]


def test_scale_expose_and_answer_by_name_and_address(k, namespace):
    k("apply", "-f", "-", stdin=web(replicas=1))
    k("scale", "deployment/web", "--replicas=3")
    k("expose", "deployment/web", "--port=80", "--type=NodePort")
    k("rollout", "status", "deployment/web", "--timeout=60s")
    service = json.loads(k("get", "service", "web", "-o", "json"))
    address, port = service["spec"]["clusterIP"], service["spec"]["ports"][0]["nodePort"]
    node = json.loads(k("get", "nodes", "-o", "json"))["items"][0]["status"]["addresses"][0]["address"]

    def page(url: str) -> str:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode().split()[1]

    until(lambda: len({page(f"http://{address}/") for _ in range(30)}) == 3, "answers of all three pods")
    assert page(f"http://{node}:{port}/")
    name = sorted(json.loads(k("get", "pods", "-o", "json"))["items"], key=str)[0]["metadata"]["name"]
    assert "web-" in k("exec", name, "--", "wget", "-qO-", f"http://{address}/")
    assert "web-" in k("exec", name, "--", "wget", "-qO-", "http://web/")
    assert address in k("exec", name, "--", "nslookup", f"web.{namespace}.svc.cluster.local")


def test_get_watches_changes(cluster, namespace, k):
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    command = ["kubectl", "-n", namespace, "get", "configmaps", "-w", "-o", "name"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "configmap/kube-root-ca.crt"
        k("create", "configmap", "seen", "--from-literal=a=b")
        assert process.stdout.readline().strip() == "configmap/seen"
    finally:
        process.terminate()
        process.wait()


def test_auth_wait_and_labels(k):
    assert k("auth", "can-i", "create", "pods").strip() == "yes"
    account = "--as=system:serviceaccount:default:default"
    assert k("auth", "can-i", "create", "pods", account, check=False).strip() == "no"
    k("create", "configmap", "c")
    k("label", "configmap", "c", "a=b")
    k("annotate", "configmap", "c", "note=x")
    k("wait", "--for=jsonpath={.metadata.labels.a}=b", "configmap/c", "--timeout=5s")


def test_drain_moves_pods_away_and_uncordon_lets_them_back(k, cluster):
    node = cluster.get("nodes")["items"][0]["metadata"]["name"]
    k("apply", "-f", "-", stdin=web(replicas=1))
    k("rollout", "status", "deployment/web", "--timeout=60s")
    try:
        selector = ["--pod-selector=app=web", "--timeout=60s", "--ignore-daemonsets", "--delete-emptydir-data"]
        assert "drained" in k("drain", node, *selector)
        waiting = until(lambda: _pending(k), "a new pod that waits")
        assert "unschedulable" in waiting
    finally:
        k("uncordon", node)
    k("rollout", "status", "deployment/web", "--timeout=60s")


def _pending(k) -> str:
    for item in json.loads(k("get", "pods", "-l", "app=web", "-o", "json"))["items"]:
        for condition in item["status"].get("conditions") or ():
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return str(condition["message"])
    return ""


def test_top_shows_nodes_and_pods(k, cluster, pod):
    until(lambda: pod in k("top", "pod", pod, check=False), "figures of the pod")
    assert "CPU(cores)" in k("top", "node")


def test_a_namespace_goes_with_all_that_is_in_it(cluster):
    cluster.kubectl("create", "namespace", "short-lived")
    until(lambda: cluster.kubectl("-n", "short-lived", "get", "sa", "default", "--ignore-not-found"), "its account")
    cluster.kubectl("-n", "short-lived", "apply", "-f", "-", stdin=web())
    cluster.kubectl("delete", "namespace", "short-lived", "--timeout=60s")
    assert "NotFound" in cluster.kubectl("get", "namespace", "short-lived", check=False)
    assert not Path("/var/lib/tiphys/short-lived").exists()


def test_a_list_of_objects_is_validated_and_applied(cluster: RealCluster, namespace: str) -> None:
    one = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "b"}}
    two = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "two"}}
    whole = {"apiVersion": "v1", "kind": "List", "items": [one, two]}
    told = cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=json.dumps(whole))
    assert told.split() == ["configmap/one", "created", "secret/two", "created"]
    # What was read comes back as it is: a copy of a namespace.
    copy = cluster.kubectl("-n", namespace, "get", "configmaps,secrets", "-o", "yaml")
    cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=copy)
    wrong = {**whole, "items": [{**one, "data": ["no map"]}]}
    told = cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=json.dumps(wrong), check=False)
    assert "invalid type" in told


def test_a_pod_starts_as_soon_as_its_image_is_there(cluster, k, tmp_path):
    image = "tiphys-test-later:1"
    k("run", "later", f"--image={image}")
    waiting = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
    until(lambda: k("get", "pod", "later", "-o", waiting) == "ImagePullBackOff", "the image is missed")
    build_image(cluster, tmp_path, image)
    # Far sooner than the back-off would let it try again.
    k("wait", "--for=condition=Ready", "pod/later", "--timeout=8s")
