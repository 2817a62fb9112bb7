"""Machines that die, are cut off or stopped, and servers that are away: what users see of it, on three real nodes."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from real_cluster import IMAGE, TIPHYS, RealCluster, started, until
from test_kubectl import web
from test_nodes import fetch, placed, ready, spread

pytestmark = pytest.mark.root
UNREACHABLE = "node.kubernetes.io/unreachable"


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """A cluster of three nodes."""
    with started("loss", "--nodes", "3", image=tmp_path_factory.mktemp("image")) as made:
        yield made


@pytest.fixture
def k(trio: RealCluster) -> Iterator[Any]:
    """kubectl in a namespace of the test's own, of which nothing is left for the next."""
    space = f"ns-{secrets.token_hex(3)}"
    trio.kubectl("create", "namespace", space)
    until(lambda: trio.kubectl("-n", space, "get", "serviceaccount", "default", "--ignore-not-found"), "an account")

    def run(*words: str, **options: Any) -> str:
        return trio.kubectl("-n", space, *words, **options)

    yield run
    trio.kubectl("delete", "namespace", space, "--timeout=60s", timeout=90)


def processes(trio: RealCluster, number: int) -> list[int]:
    """Everything that runs on a node in namespaces: agent, containerd, shims, and what is in containers."""
    agent = trio.pid(f"nodes/{number}/agent")
    mounts = os.readlink(f"/proc/{agent}/ns/mnt")
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/mnt"):
        with contextlib.suppress(OSError):
            if os.readlink(path) == mounts:
                found.add(int(path.parts[2]))
    for procs in Path("/sys/fs/cgroup").glob(f"*/tiphys-{trio.name}/nodes/{number}/**/cgroup.procs"):
        found |= {int(word) for word in procs.read_text().split()}
    return [agent, *sorted(found - {agent})]


def die(trio: RealCluster, number: int) -> float:
    """The machine loses power; when."""
    for pid in processes(trio, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return time.monotonic()


@contextmanager
def cut_off(trio: RealCluster, number: int) -> Iterator[None]:
    """Nothing comes to the node and nothing leaves it."""
    inside = ["ip", "netns", "exec", f"tiphys-{trio.name}-{number}", "nft"]
    rules = (
        "table inet cut { chain in { type filter hook input priority -300; iifname != lo drop; }; "
        "chain out { type filter hook output priority -300; oifname != lo drop; }; "
        "chain on { type filter hook forward priority -300; drop; }; }"
    )
    subprocess.run([*inside, rules], check=True)
    try:
        yield
    finally:
        subprocess.run([*inside, "delete table inet cut"], check=True)


def taints(trio: RealCluster, name: str) -> set[tuple[str, str]]:
    return {(taint["key"], taint["effect"]) for taint in trio.get("node", name)["spec"].get("taints", [])}


def pods(k: Any, name: str) -> dict[str, Any]:
    return {
        item["metadata"]["name"]: item
        for item in json.loads(k("get", "pods", "-l", f"app={name}", "-o", "json"))["items"]
    }


def serving(k: Any, name: str) -> set[str]:
    """The nodes that the Service leads to."""
    slices = json.loads(k("get", "endpointslices", "-l", f"kubernetes.io/service-name={name}", "-o", "json"))["items"]
    return {
        point["nodeName"] for found in slices for point in found.get("endpoints") or [] if point["conditions"]["ready"]
    }


def runs(trio: RealCluster, number: int, uid: str) -> list[int]:
    """The processes of a pod's containers on a node."""
    found: set[int] = set()
    for procs in Path(f"/sys/fs/cgroup/memory/tiphys-{trio.name}/nodes/{number}").glob("**/cgroup.procs"):
        if uid in str(procs) or uid.replace("-", "_") in str(procs):
            found |= {int(word) for word in procs.read_text().split()}
    return sorted(found)


def on_third(trio: RealCluster, k: Any, body: str) -> None:
    """Make a workload while no other node takes pods, and wait until it runs on the third."""
    others = [item["metadata"]["name"] for item in trio.get("nodes")["items"]]
    others.remove(f"{trio.name}-3")
    for name in others:
        trio.kubectl("cordon", name)
    try:
        k("apply", "-f", "-", stdin=body)
        until(lambda: set(placed(k, "web").values()) == {f"{trio.name}-3"}, "pods on the third node")
        k("wait", "--for=condition=Ready", "pod", "-l", "app=web", "--timeout=60s")
    finally:
        for name in others:
            trio.kubectl("uncordon", name)


def test_the_pods_of_a_dead_machine_run_elsewhere_soon(trio, k, capsys):
    lost = f"{trio.name}-3"
    body = yaml.safe_load(spread("web", 6))
    body["spec"]["template"]["spec"]["topologySpreadConstraints"][0]["whenUnsatisfiable"] = "ScheduleAnyway"
    k("apply", "-f", "-", stdin=yaml.safe_dump(body))
    k("expose", "deployment", "web", "--port=80")
    k("rollout", "status", "deployment/web", "--timeout=60s")
    assert lost in serving(k, "web")
    old = {name for name, node in placed(k, "web").items() if node == lost}
    died = die(trio, 3)
    until(lambda: ready(trio, lost) == "Unknown", "the node to be given up", 30)
    noticed = time.monotonic() - died
    until(lambda: lost not in serving(k, "web"), "the Service not to lead there")
    silent = time.monotonic() - died
    until(lambda: taints(trio, lost) == {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")}, "its taints")
    k("rollout", "status", "deployment/web", "--timeout=60s")
    until(lambda: lost not in placed(k, "web").values() and len(placed(k, "web")) == 6, "six pods elsewhere")
    k("wait", "--for=condition=Available", "deployment/web", "--timeout=30s")
    until(lambda: json.loads(k("get", "deployment", "web", "-o", "json"))["status"].get("readyReplicas") == 6, "ready")
    with capsys.disabled():
        replaced = time.monotonic() - died
        print(f"\nNotReady {noticed:.1f} s, no Service {silent:.1f} s, replaced {replaced:.1f} s after the death")
    # Nobody knows whether they still run, so they are there until the node says that they do not.
    assert {name for name, pod in pods(k, "web").items() if "deletionTimestamp" in pod["metadata"]} == old
    trio.tiphys("up", trio.name)
    until(lambda: ready(trio, lost) == "True" and not taints(trio, lost), "the node to be taken back")
    until(lambda: set(pods(k, "web")) == set(placed(k, "web")), "the old pods to be gone")
    assert len(placed(k, "web")) == 6
    k("run", "back", f"--image={IMAGE}", "--overrides", json.dumps({"spec": {"nodeName": lost}}))
    k("wait", "--for=condition=Ready", "pod/back", "--timeout=30s")
    address = k("get", "pod", "back", "-o", "jsonpath={.status.podIP}")
    assert "back" in fetch(address, 80)


def test_a_pods_name_is_free_when_its_node_is_said_to_be_gone(trio, k):
    """What a StatefulSet waits for before it makes the pod of that name anew."""
    lost = f"{trio.name}-3"
    body = yaml.safe_load(web())["spec"]["template"]
    pod = yaml.safe_dump(
        {"apiVersion": "v1", "kind": "Pod", **body, "metadata": {"name": "web-0", "labels": {"app": "web"}}}
    )
    on_third(trio, k, pod)
    old = pods(k, "web")["web-0"]["metadata"]["uid"]
    die(trio, 3)
    until(lambda: "deletionTimestamp" in pods(k, "web")["web-0"]["metadata"], "the pod to be evicted", 60)
    trio.kubectl("taint", "node", lost, "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
    try:
        until(lambda: not pods(k, "web"), "the pod to be gone")
        k("apply", "-f", "-", stdin=pod)
        k("wait", "--for=condition=Ready", "pod/web-0", "--timeout=30s")
        assert pods(k, "web")["web-0"]["spec"]["nodeName"] != lost
        trio.tiphys("up", trio.name)
        until(lambda: ready(trio, lost) == "True", "the node to be taken back")
    finally:
        trio.kubectl("taint", "node", lost, "node.kubernetes.io/out-of-service-")
    assert runs(trio, 3, old) == []
    assert pods(k, "web")["web-0"]["status"]["phase"] == "Running"


def test_a_node_cut_off_gives_up_its_pods_when_it_is_back(trio, k):
    lost = f"{trio.name}-3"
    on_third(trio, k, web("web", 2))
    old = pods(k, "web")
    agent = trio.pid("nodes/3/agent")
    with cut_off(trio, 3):
        until(lambda: ready(trio, lost) == "Unknown", "the node to be given up", 60)
        until(lambda: lost not in placed(k, "web").values() and len(placed(k, "web")) == 2, "pods elsewhere", 60)
        k("rollout", "status", "deployment/web", "--timeout=60s")
        for pod in old.values():
            assert runs(trio, 3, pod["metadata"]["uid"]), "a node that is cut off keeps what it has"
    until(lambda: ready(trio, lost) == "True" and not taints(trio, lost), "the node to be taken back", 60)
    until(lambda: not set(pods(k, "web")) & set(old), "the old pods to be gone", 60)
    for pod in old.values():
        until(lambda uid=pod["metadata"]["uid"]: not runs(trio, 3, uid), "nothing of them to run")
    assert trio.pid("nodes/3/agent") == agent
    assert len(placed(k, "web")) == 2


@contextmanager
def server_away(trio: RealCluster, number: int) -> Iterator[None]:
    """The server is stopped (SIGSTOP, which looks like a hang) or killed, and back afterwards."""
    pid = trio.pid("server")
    os.kill(pid, number)
    try:
        yield
    finally:
        if number == signal.SIGSTOP:
            os.kill(pid, signal.SIGCONT)
        trio.tiphys("up", trio.name)


@contextmanager
def another_agent(trio: RealCluster, number: int) -> Iterator[None]:
    """In place of the one on a node, which is killed: a new one."""
    os.kill(trio.pid(f"nodes/{number}/agent"), signal.SIGKILL)
    words = [TIPHYS, "agent", "--cluster", trio.name, "--node", str(number)]
    with Path(f"/var/lib/tiphys/{trio.name}/log/agent-{number}.log").open("ab") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def inside(pid: int, *command: str) -> str:
    """Run a command in a container of which this is a process."""
    words = ["nsenter", "-t", str(pid), "-m", "-n", "-u", "--", *command]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=10).stdout


def busybox(trio: RealCluster, number: int, uid: str) -> list[int]:
    """The first processes of the pod's own containers, without the pause container's."""
    found = []
    for pid in runs(trio, number, uid):
        with contextlib.suppress(OSError):
            if b"/bin/start" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


@pytest.mark.parametrize("fault", [signal.SIGSTOP, signal.SIGKILL], ids=["hung", "killed"])
def test_nodes_carry_on_without_a_server_also_with_a_new_agent(trio, k, fault):
    k("create", "configmap", "settings", "--from-literal=VERSION=kept")
    k("create", "secret", "generic", "key", "--from-literal=KEY=secret")
    body = yaml.safe_load(web("web", 1))
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [
        {"name": "VERSION", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "VERSION"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "key", "key": "KEY"}}},
    ]
    on_third(trio, k, yaml.safe_dump(body))
    k("expose", "deployment", "web", "--port=80")
    until(lambda: serving(k, "web"), "an endpoint")
    (pod,) = pods(k, "web").values()
    uid, address = pod["metadata"]["uid"], pod["status"]["podIP"]
    until(lambda: "kept" in inside(busybox(trio, 3, uid)[0], "wget", "-qO-", "http://web/"), "the Service by its name")

    def crash() -> None:
        pid = busybox(trio, 3, uid)[0]
        os.kill(pid, signal.SIGKILL)

        def answers() -> bool:
            again = [each for each in busybox(trio, 3, uid) if each != pid]
            return bool(again) and "kept" in inside(again[0], "wget", "-qO-", "http://web/")

        until(answers, "the container to be started again, and the Service to lead there by its name", 60)

    # What happens in the last moment before an agent is killed, the next one cannot know.
    kept = Path(f"/run/tiphys/{trio.name}/nodes/3/checkpoint/endpointslices")
    until(lambda: address in kept.read_text(), "the endpoint to be known to the next agent")
    with server_away(trio, fault):
        crash()
        with another_agent(trio, 3):
            crash()
            assert "kept" in fetch(address, 80)
    until(lambda: (c := pods(k, "web")[pod["metadata"]["name"]]["status"]["containerStatuses"][0])["restartCount"] >= 2
          and c["ready"], "the restarts to be told", 60)  # fmt: skip
    assert list(pods(k, "web")) == [pod["metadata"]["name"]]
    assert ready(trio, f"{trio.name}-3") == "True"


def test_a_machine_that_goes_down_ends_its_pods_in_order(trio, k):
    third = f"{trio.name}-3"
    body = yaml.safe_load(web("web", 2))
    on_third(trio, k, yaml.safe_dump(body))
    critical = {"spec": {"nodeName": third, "priorityClassName": "system-node-critical"}}
    k("run", "critical", f"--image={IMAGE}", "--overrides", json.dumps(critical))
    k("wait", "--for=condition=Ready", "pod/critical", "--timeout=30s")
    old = pods(k, "web")
    trio.tiphys("node", "shutdown", trio.name, "--node", third)
    ends = []
    for name in (*old, "critical"):
        status = json.loads(k("get", "pod", name, "-o", "json"))["status"]
        assert (status["phase"], status["reason"]) == ("Failed", "Terminated")
        ended = status["containerStatuses"][0]["state"]["terminated"]
        assert ended["exitCode"] == 0, "it had time to end by itself"
        ends.append(ended["finishedAt"])
    assert ends[-1] == max(ends), "the critical pod is the last"
    condition = next(c for c in trio.get("node", third)["status"]["conditions"] if c["type"] == "Ready")
    assert (condition["status"], condition["message"]) == ("False", "node is shutting down")

    def running() -> list[str]:
        return [p["spec"]["nodeName"] for p in pods(k, "web").values() if p["status"]["phase"] == "Running"]

    until(lambda: len(running()) == 2, "replacements", 60)
    assert third not in running()
    trio.tiphys("up", trio.name)
    until(lambda: ready(trio, third) == "True" and not taints(trio, third), "the node to be back")
    for item in old.values():
        assert runs(trio, 3, item["metadata"]["uid"]) == []
