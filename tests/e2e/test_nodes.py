"""Several nodes on one machine: pods, Services, names and kubectl work across them, and nodes may come, go and die."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from real_cluster import IMAGE, TIPHYS, RealCluster, leftovers, until
from test_kubectl import web

from tiphys.node.cni import bridge_name
from tiphys.overlay.plan import hardware_address

pytestmark = pytest.mark.root


@pytest.fixture
def k(nodes: RealCluster, space: str):
    """kubectl in a namespace of the test's own."""

    def run(*words: str, **options: Any) -> str:
        return nodes.kubectl("-n", space, *words, **options)

    return run


@pytest.fixture
def names(nodes: RealCluster) -> tuple[str, str]:
    """The machine's node and the one in namespaces."""
    found = {item["metadata"]["name"] for item in nodes.get("nodes")["items"]}
    second = f"{nodes.name}-2"
    (first,) = {name for name in found if not name.startswith(f"{nodes.name}-")}
    assert second in found
    return first, second


def on(k, node: str, name: str, *command: str) -> str:
    """Run a pod on a node and wait until it is Ready; its address."""
    overrides = json.dumps({"spec": {"nodeName": node, "terminationGracePeriodSeconds": 0}})
    tail = ["--", *command] if command else []
    k("run", name, f"--image={IMAGE}", f"--labels=app={name}", f"--overrides={overrides}", *tail)
    k("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=30s")
    return k("get", "pod", name, "-o", "jsonpath={.status.podIP}")


def spread(name: str, replicas: int = 4) -> str:
    """A Deployment of the test's web server with the same number of pods on each node."""
    body = yaml.safe_load(web(name, replicas))
    body["spec"]["template"]["spec"]["topologySpreadConstraints"] = [{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": name}},
    }]  # fmt: skip
    return yaml.safe_dump(body)


def placed(k, name: str) -> dict[str, str]:
    """The node of each pod that is not going."""
    items = json.loads(k("get", "pods", "-l", f"app={name}", "-o", "json"))["items"]
    return {p["metadata"]["name"]: p["spec"].get("nodeName", "") for p in items
            if "deletionTimestamp" not in p["metadata"]}  # fmt: skip


def ready(nodes: RealCluster, name: str) -> str:
    conditions = nodes.get("node", name)["status"]["conditions"]
    return next(c["status"] for c in conditions if c["type"] == "Ready")


def fetch(address: str, port: int) -> str:
    with urllib.request.urlopen(f"http://{address}:{port}/", timeout=5) as answer:
        return answer.read().decode()


def test_every_node_is_ready_and_has_what_is_its_own(nodes, names):
    items = {item["metadata"]["name"]: item for item in nodes.get("nodes")["items"]}
    for item in items.values():
        assert not item["spec"].get("unschedulable")
        assert ready(nodes, item["metadata"]["name"]) == "True"
    first, second = (items[name] for name in names)
    assert first["spec"]["podCIDR"] != second["spec"]["podCIDR"]
    assert first["status"]["addresses"][0] != second["status"]["addresses"][0]
    shown = json.loads(nodes.tiphys("status", nodes.name, "-o", "json"))
    assert {node["name"] for node in shown["nodes"]} >= set(names)
    assert shown["components"]["agent-2"]["pid"] == nodes.pid("nodes/2/agent")
    assert names[1] in nodes.tiphys("ls")


def test_pods_reach_each_other_under_their_own_addresses(k, names):
    listening = [f"server{number}" for number in (1, 2)]
    servers = [on(k, node, name, "busybox", "httpd", "-f", "-vv", "-p", "80", "-h", "/tmp")
               for node, name in zip(names, listening, strict=True)]  # fmt: skip
    clients = [on(k, node, name, "sleep", "600") for node, name in zip(names, ("client1", "client2"), strict=True)]
    for number, server in enumerate(servers):
        for name in ("client1", "client2"):
            assert "404" in k("exec", name, "--", "wget", "-qO-", f"http://{server}/", check=False)
        log = until(lambda name=listening[number]: (log := k("logs", name)).count("response") >= 2 and log, "requests")
        assert [address for address in clients if f"{address}]" in log] == clients


def test_large_packets_pass_between_nodes(k, names):
    address = on(k, names[1], "big", "sh", "-c",
                 "head -c 3000000 /dev/zero > /tmp/zeros; busybox httpd -f -p 80 -h /tmp")  # fmt: skip
    on(k, names[0], "client", "sleep", "600")
    counted = k("exec", "client", "--", "sh", "-c", f"wget -qO- http://{address}/zeros | busybox wc -c")
    assert int(counted) == 3_000_000
    assert fetch_size(address) == 3_000_000


def fetch_size(address: str) -> int:
    with urllib.request.urlopen(f"http://{address}/zeros", timeout=10) as answer:
        return len(answer.read())


def test_a_service_balances_over_nodes_from_everywhere(nodes, k, names):
    k("apply", "-f", "-", stdin=spread("web"))
    k("expose", "deployment", "web", "--port=80", "--type=NodePort")
    k("rollout", "status", "deployment/web", "--timeout=60s")
    assert sorted(placed(k, "web").values()) == sorted([*names, *names])
    pods = set(placed(k, "web"))
    for node, client in zip(names, ("client1", "client2"), strict=True):
        on(k, node, client, "sleep", "600")

        def answers(client: str = client) -> set[str]:
            said = k("exec", client, "--", "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do wget -qO- http://web/; done")
            return set(said.split()) - {"v1"}

        seen: set[str] = set()
        until(lambda seen=seen, answers=answers: seen.update(answers()) or seen == pods, f"all pods from {client}")
    service = json.loads(k("get", "service", "web", "-o", "json"))
    (port,) = service["spec"]["ports"]
    addresses = [item["status"]["addresses"][0]["address"] for item in nodes.get("nodes")["items"]]
    for address, number in [*((a, port["nodePort"]) for a in addresses), (service["spec"]["clusterIP"], 80)]:
        heard: set[str] = set()
        until(
            lambda a=address, n=number, heard=heard: heard.add(fetch(a, n).split()[-1]) or heard == pods,
            f"all pods behind {address}:{number}",
        )


def test_the_pods_gateway_keeps_its_hardware_address(nodes, k, names):
    """Or pods that have found it lose it for a while whenever others come and go."""

    def address() -> str:
        agent = Path(f"/run/tiphys/{nodes.name}/nodes/2/agent.pid").read_text().split()[0]
        words = ["nsenter", "-t", agent, "-n", "ip", "-j", "link", "show", "dev", bridge_name(nodes.name)]
        (found,) = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
        return found["address"]

    on(k, names[1], "first", "sleep", "600")
    before = address()
    seen = {before}
    # Each has a random address of its own: one of them is all but certainly below that of the first.
    for number in range(6):
        on(k, names[1], f"other{number}", "sleep", "600")
        seen.add(address())
    k("delete", "pod", "first", *(f"other{number}" for number in range(6)))
    assert seen == {before, address()} == {before}


def test_names_are_resolved_on_every_node(k, names):
    k("create", "service", "clusterip", "here", "--tcp=80", "--clusterip=None")
    address = on(k, names[0], "here")
    on(k, names[1], "there", "sleep", "600")
    until(lambda: address in k("exec", "there", "--", "nslookup", "here", check=False), "the name on the second node")
    assert "10." in k("exec", "there", "--", "nslookup", "kubernetes.default.svc.cluster.local")


def test_kubectl_reaches_into_pods_of_another_node(k, nodes, names):
    on(k, names[1], "far")
    assert k("logs", "far").splitlines() == ["ready"]
    assert k("exec", "far", "--", "hostname").strip() == "far"
    assert k("exec", "-i", "far", "--", "cat", stdin="through the server") == "through the server"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with forwarded(nodes, k, "far", port):
        assert "far" in until(lambda: tried(port), "an answer through port-forward")
    usage = until(lambda: len((text := nodes.kubectl("top", "node", check=False)).splitlines()) > 2 and text, "usage")
    assert names[1] in usage
    assert until(lambda: "far" in k("top", "pod", check=False), "the pod's usage")


@contextmanager
def forwarded(nodes: RealCluster, k, pod: str, port: int) -> Iterator[None]:
    namespace = json.loads(k("get", "pod", pod, "-o", "json"))["metadata"]["namespace"]
    words = ["-n", namespace, "port-forward", f"pod/{pod}", f"{port}:80"]
    command = ["kubectl", "--kubeconfig", str(nodes.kubeconfig), *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def tried(port: int) -> str:
    try:
        return fetch("127.0.0.1", port)
    except OSError:
        return ""


def test_a_pod_on_the_nodes_network_has_the_nodes_name_and_address(k, nodes, names):
    overrides = json.dumps({"spec": {"nodeName": names[1], "hostNetwork": True, "terminationGracePeriodSeconds": 0}})
    k("run", "host", f"--image={IMAGE}", f"--overrides={overrides}", "--", "sleep", "600")
    k("wait", "--for=condition=Ready", "pod/host", "--timeout=30s")
    assert k("exec", "host", "--", "hostname").strip() == names[1]
    own = nodes.get("node", names[1])["status"]["addresses"][0]["address"]
    assert k("get", "pod", "host", "-o", "jsonpath={.status.podIP}") == own
    assert nodes.get("node", names[0])["status"]["nodeInfo"]["machineID"] != (
        nodes.get("node", names[1])["status"]["nodeInfo"]["machineID"] or "unknown"
    )
    address = on(k, names[0], "web")
    assert "web" in k("exec", "host", "--", "wget", "-qO-", f"http://{address}/")
    k("exec", "host", "--", "sh", "-c", "echo hello > /tmp/hello; busybox httpd -p 8099 -h /tmp")
    assert "hello" in k("exec", "web", "--", "wget", "-qO-", f"http://{own}:8099/hello")


def test_the_api_server_is_reached_from_pods_on_every_node(k, names):
    for node, name in zip(names, ("near", "far"), strict=True):
        on(k, node, name, "sleep", "600")
        said = k("exec", name, "--", "sh", "-c", "busybox nc kubernetes.default 443 < /dev/null && echo connected")
        assert "connected" in said


def test_a_nodes_certificate_reads_only_what_its_pods_use(k, nodes, names, space, tmp_path):
    k("create", "secret", "generic", "of-the-first", "--from-literal=a=b")
    overrides = json.dumps({"spec": {"nodeName": names[0], "terminationGracePeriodSeconds": 0, "containers": [{
        "name": "user", "image": IMAGE, "envFrom": [{"secretRef": {"name": "of-the-first"}}],
    }]}})  # fmt: skip
    k("run", "user", f"--image={IMAGE}", f"--overrides={overrides}")
    k("wait", "--for=condition=Ready", "pod/user", "--timeout=30s")
    pki = Path(f"/var/lib/tiphys/{nodes.name}/pki")

    def as_node(agent: str) -> str:
        shown = {"client-certificate": f"{pki}/{agent}.crt", "client-key": f"{pki}/{agent}.key"}
        config = yaml.safe_load(nodes.kubeconfig.read_text())
        config |= {"users": [{"name": "node", "user": shown}], "contexts": [
            {"name": "node", "context": {"cluster": config["clusters"][0]["name"], "user": "node"}}
        ], "current-context": "node"}  # fmt: skip
        path = tmp_path / f"{agent}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return RealCluster(nodes.name, path).kubectl("-n", space, "get", "secret", "of-the-first", check=False)

    assert "Opaque" in as_node("agent")
    assert "Forbidden" in as_node("agent-2")


def test_nobody_outside_sends_into_the_overlay(k, nodes, names):
    """A stranger with a device like the second node's; the same device inside the second node is heard."""
    address = on(k, names[0], "ear", "sleep", "600")
    settings = json.loads(Path(f"/var/lib/tiphys/{nodes.name}/cluster.json").read_text())
    first = nodes.get("node", names[0])
    stranger, mac = f"stranger-{secrets.token_hex(2)}", hardware_address(names[0])
    inside = ["ip", "-n", stranger]
    try:
        for command in (
            ["ip", "netns", "add", stranger],
            ["ip", "link", "add", "tphstranger", "type", "veth", "peer", "name", "eth0", "netns", stranger],
            ["ip", "addr", "add", "198.18.0.1/30", "dev", "tphstranger"], ["ip", "link", "set", "tphstranger", "up"],
            [*inside, "addr", "add", "198.18.0.2/30", "dev", "eth0"], [*inside, "link", "set", "eth0", "up"],
            [*inside, "link", "add", "vx0", "type", "vxlan", "id", str(4200 + settings["index"]),
             "dstport", str(14200 + settings["index"]), "local", "198.18.0.2", "nolearning"],
            [*inside, "link", "set", "vx0", "up"], [*inside, "addr", "add", "10.42.77.0/32", "dev", "vx0"],
            ["bridge", "-n", stranger, "fdb", "add", mac, "dev", "vx0", "dst", "198.18.0.1", "self", "permanent"],
            [*inside, "neigh", "add", "10.42.78.0", "lladdr", mac, "dev", "vx0", "nud", "permanent"],
            [*inside, "route", "add", first["spec"]["podCIDR"], "via", "10.42.78.0", "dev", "vx0", "onlink"],
        ):  # fmt: skip
            subprocess.run(command, check=True, capture_output=True)
        for _ in range(3):
            send_datagram(stranger, address)
        send_datagram(f"tiphys-{nodes.name}-2", address)
        assert until(lambda: unexpected_datagrams(k, "ear"), "what the second node sent") == 1
    finally:
        subprocess.run(["ip", "link", "delete", "tphstranger"], check=False)
        subprocess.run(["ip", "netns", "delete", stranger], check=False)


def send_datagram(namespace: str, address: str) -> None:
    """To a port where nobody listens, which the receiving kernel counts."""
    code = f"import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'.', ('{address}', 9999))"
    subprocess.run(["ip", "netns", "exec", namespace, sys.executable, "-c", code], check=True, timeout=10)


def unexpected_datagrams(k, pod: str) -> int:
    names, values = [line.split() for line in k("exec", pod, "--", "cat", "/proc/net/snmp").splitlines()
                     if line.startswith("Udp:")]  # fmt: skip
    return int(values[names.index("NoPorts")])


def test_drain_moves_pods_to_the_other_node(nodes, k, names):
    k("apply", "-f", "-", stdin=spread("web"))
    k("rollout", "status", "deployment/web", "--timeout=60s")
    body = json.dumps({"spec": {"template": {"spec": {"topologySpreadConstraints": None}}}})
    k("patch", "deployment", "web", "-p", body, "--type=merge")
    k("rollout", "status", "deployment/web", "--timeout=60s")
    try:
        nodes.kubectl("drain", names[1], "--force", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s")
        k("rollout", "status", "deployment/web", "--timeout=60s")
        assert set(placed(k, "web").values()) == {names[0]}
        assert "SchedulingDisabled" in nodes.kubectl("get", "node", names[1])
    finally:
        nodes.kubectl("uncordon", names[1])


def test_a_dead_node_is_left_and_taken_back(nodes, k, names):
    body = yaml.safe_load(web("web", 1))
    body["spec"]["template"]["spec"]["tolerations"] = [
        {"key": f"node.kubernetes.io/{reason}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
        for reason in ("not-ready", "unreachable")
    ]
    nodes.kubectl("cordon", names[0])
    try:
        k("apply", "-f", "-", stdin=yaml.safe_dump(body))
        k("rollout", "status", "deployment/web", "--timeout=60s")
    finally:
        nodes.kubectl("uncordon", names[0])
    (old,) = placed(k, "web")
    os.kill(nodes.pid("nodes/2/agent"), signal.SIGKILL)
    until(lambda: ready(nodes, names[1]) == "Unknown", "the node to be given up", 60)
    until(lambda: list(placed(k, "web").values()) == [names[0]], "the pod on the other node", 60)
    k("rollout", "status", "deployment/web", "--timeout=60s")
    nodes.tiphys("up", nodes.name)
    assert ready(nodes, names[1]) == "True"
    until(lambda: not k("get", "pod", old, "--ignore-not-found"), "the old pod to be gone", 60)
    on(k, names[1], "after", "sleep", "600")


def test_containers_outlive_their_agent_and_containerd(nodes, k, names):
    on(k, names[1], "lasting")
    before = json.loads(k("get", "pod", "lasting", "-o", "json"))["status"]["containerStatuses"]
    for what in ("nodes/2/agent", "nodes/2/containerd/containerd"):
        os.kill(nodes.pid(what), signal.SIGKILL)
    nodes.tiphys("up", nodes.name)
    until(lambda: k("exec", "lasting", "--", "hostname", check=False).strip() == "lasting", "exec to work again")
    after = json.loads(k("get", "pod", "lasting", "-o", "json"))["status"]["containerStatuses"]
    assert [(c["containerID"], c["restartCount"]) for c in after] == [(c["containerID"], 0) for c in before]
    # What the new agent mounts is seen by the containerd that it has started inside.
    k("create", "secret", "generic", "key", "--from-literal=a=b")
    overrides = json.dumps({"spec": {"nodeName": names[1], "terminationGracePeriodSeconds": 0, "containers": [
        {"name": "reader", "image": IMAGE, "volumeMounts": [{"name": "key", "mountPath": "/key"}]}
    ], "volumes": [{"name": "key", "secret": {"secretName": "key"}}]}})  # fmt: skip
    k("run", "reader", f"--image={IMAGE}", f"--overrides={overrides}")
    k("wait", "--for=condition=Ready", "pod/reader", "--timeout=30s")
    assert k("exec", "reader", "--", "cat", "/key/a") == "b"


def test_up_again_changes_nothing_and_a_smaller_number_is_refused(nodes):
    roles = ("server", "agent", "nodes/2/agent", "containerd/containerd", "nodes/2/containerd/containerd")
    before = [nodes.pid(role) for role in roles]
    nodes.tiphys("up", nodes.name)
    nodes.tiphys("up", nodes.name, "--nodes", "2")
    assert [nodes.pid(role) for role in roles] == before
    with pytest.raises(AssertionError, match="has 2 nodes, and `up` takes none away"):
        nodes.tiphys("up", nodes.name, "--nodes", "1")


def test_a_cluster_of_one_grows_and_whatever_was_killed_leaves_nothing(tmp_path):
    name = f"grow-{secrets.token_hex(3)}"
    grown = RealCluster(name, Path(f"/etc/tiphys/{name}.kubeconfig"))
    try:
        grown.tiphys("up", name)
        assert len(grown.get("nodes")["items"]) == 1
        grown.tiphys("up", name, "--nodes", "3")
        assert len(grown.get("nodes")["items"]) == 3
        assert [ready(grown, f"{name}-{number}") for number in (2, 3)] == ["True", "True"]
        grown.tiphys("down", name)
        grown.tiphys("up", name)
        assert [ready(grown, f"{name}-{number}") for number in (2, 3)] == ["True", "True"]
        for pidfile in Path(f"/run/tiphys/{name}").rglob("*.pid"):
            os.kill(int(pidfile.read_text().split()[0]), signal.SIGKILL)
    finally:
        subprocess.run([TIPHYS, "down", name, "--purge"], check=True, timeout=120)
    assert leftovers(name) == []
