"""NetworkPolicies between pods of one node and of two, as they are asked for and as packets go."""

from __future__ import annotations

import json
import os
import secrets
import signal
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import pytest
import yaml
from real_cluster import IMAGE, RealCluster, until

pytestmark = pytest.mark.root

Json = dict[str, Any]
_SERVE = "busybox httpd -p 81 -h /; exec busybox httpd -f -p 80 -h /"


class Pods:
    """Pods a and b of namespaces x and y, a and b on nodes of their own, each with a server at ports 80 and 81."""

    def __init__(self, cluster: RealCluster, nodes: tuple[str, str], tail: str) -> None:
        self.cluster = cluster
        self.spaces = {short: f"{short}-{tail}" for short in "xy"}
        self.addresses: dict[str, str] = {}
        for short, space in self.spaces.items():
            cluster.kubectl("create", "namespace", space)
            cluster.kubectl("label", "namespace", space, f"ns={short}")
            for name, node in zip("ab", nodes, strict=True):
                cluster.kubectl("apply", "-n", space, "-f", "-", stdin=yaml.safe_dump(self.manifest(name, node)))
        for key in (f"{short}/{name}" for short in self.spaces for name in "ab"):
            short, name = key.split("/")
            cluster.kubectl("wait", "-n", self.spaces[short], "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
            self.addresses[key] = self.get(key)["status"]["podIP"]

    def manifest(self, name: str, node: str, command: str = _SERVE) -> Json:
        container = {
            "name": "app", "image": IMAGE, "command": ["sh", "-c", command],
            "ports": [{"name": "web", "containerPort": 80}],
            "readinessProbe": {"httpGet": {"port": 80, "path": "/bin/start"}, "periodSeconds": 1},
        }  # fmt: skip
        return {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"pod": name}},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container]},
        }  # fmt: skip

    def get(self, key: str) -> Any:
        short, name = key.split("/")
        return self.cluster.get("-n", self.spaces[short], "pod", name)

    def run(self, key: str, command: str) -> str:
        short, name = key.split("/")
        return self.cluster.kubectl("exec", "-n", self.spaces[short], name, "--", "sh", "-c", command, check=False)

    def reachable(self, source: str, port: int = 80) -> set[str]:
        """Which pods answer the source, all asked at once."""
        asked = list(self.addresses)
        get = "busybox timeout 2 wget -q -O /dev/null"
        asks = [f"({get} http://{self.addresses[target]}:{port}/bin/start && echo {target}) &" for target in asked]
        said = self.run(source, f"{' '.join(asks)} wait")
        return {line for line in said.splitlines() if line in asked}

    def matrix(self, port: int = 80) -> set[tuple[str, str]]:
        with ThreadPoolExecutor() as pool:
            found = pool.map(lambda source: [(source, it) for it in self.reachable(source, port)], self.addresses)
            return {pair for pairs in found for pair in pairs}

    def policy(self, short: str, name: str, chosen: Json, **spec: Any) -> None:
        body = {
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name},
            "spec": {"podSelector": {"matchLabels": chosen},
                     "policyTypes": [word.capitalize() for word in spec], **spec},
        }  # fmt: skip
        self.cluster.kubectl("apply", "-n", self.spaces[short], "-f", "-", stdin=json.dumps(body))

    def open(self) -> None:
        for space in self.spaces.values():
            self.cluster.kubectl("delete", "networkpolicy", "-n", space, "--all")

    def settle(self, expected: set[tuple[str, str]], port: int = 80) -> None:
        until(lambda: self.matrix(port) == expected, f"just {sorted(expected)} at {port}", 60)


@pytest.fixture(scope="module")
def pods(nodes: RealCluster) -> Iterator[Pods]:
    found = sorted(item["metadata"]["name"] for item in nodes.get("nodes")["items"])
    names = (next(name for name in found if name != f"{nodes.name}-2"), f"{nodes.name}-2")
    made = Pods(nodes, names, secrets.token_hex(3))
    try:
        yield made
    finally:
        nodes.kubectl("delete", "namespace", *made.spaces.values(), "--wait=false")


@pytest.fixture(autouse=True)
def opened(pods: Pods) -> Iterator[None]:
    yield
    pods.open()


ALL = set(product(["x/a", "x/b", "y/a", "y/b"], repeat=2))


def test_nobody_gets_in_but_the_node_and_the_pod_itself(pods: Pods) -> None:
    pods.settle(ALL)
    pods.policy("x", "deny", {}, ingress=[])
    pods.settle({(s, t) for s, t in ALL if t.startswith("y") or s == t})
    # The kubelet's probes come from the node.
    ready = {c["type"]: c["status"] for c in pods.get("x/a")["status"]["conditions"]}
    assert ready["Ready"] == "True"
    pods.open()
    pods.settle(ALL)


def test_who_is_let_in_by_labels_and_by_namespace_and_at_which_port(pods: Pods) -> None:
    both = {"podSelector": {"matchLabels": {"pod": "b"}}, "namespaceSelector": {"matchLabels": {"ns": "y"}}}
    pods.policy("x", "some", {"pod": "a"}, ingress=[{"from": [both], "ports": [{"port": "web"}]}])
    rest = {(s, t) for s, t in ALL if t != "x/a" or s == t}
    pods.settle(rest | {("y/b", "x/a")}, 80)
    pods.settle(rest, 81)


def test_what_goes_out(pods: Pods) -> None:
    block = {"ipBlock": {"cidr": f"{pods.addresses['y/b']}/32"}}
    pods.policy("x", "out", {}, egress=[{"to": [block], "ports": [{"port": 80, "endPort": 81}]}])
    pods.settle({(s, t) for s, t in ALL if s.startswith("y") or s == t} | {("x/a", "y/b"), ("x/b", "y/b")})


def test_a_service_is_as_open_as_its_pods(pods: Pods) -> None:
    space = pods.spaces["x"]
    pods.cluster.kubectl("expose", "-n", space, "pod/a", "--port=8080", "--target-port=80", "--type=NodePort")
    service = pods.cluster.get("-n", space, "service", "a")["spec"]
    get = f"busybox timeout 2 wget -q -O /dev/null http://{service['clusterIP']}:8080/bin/start"
    ask = f"{get} && echo open || echo closed"
    until(lambda: "open" in pods.run("y/b", ask), "open")
    pods.policy("x", "only", {"pod": "a"}, ingress=[{"from": [{"podSelector": {}}]}])
    until(lambda: "closed" in pods.run("y/b", ask), "closed to another namespace")
    assert "open" in pods.run("x/b", ask)
    assert "open" in pods.run("x/a", ask)
    pods.policy("x", "published", {"pod": "a"}, ingress=[{}])
    until(lambda: "open" in pods.run("y/b", ask), "open again")
    node = pods.get("x/a")["status"]["hostIP"]
    with urllib.request.urlopen(f"http://{node}:{service['ports'][0]['nodePort']}/bin/start", timeout=10) as answer:
        assert answer.status == 200
    pods.cluster.kubectl("delete", "-n", space, "service", "a")


def test_a_pod_is_isolated_from_its_first_moment(pods: Pods) -> None:
    pods.policy("x", "out", {"pod": "early"}, egress=[])
    node = pods.get("x/a")["spec"]["nodeName"]
    asks = f"busybox timeout 1 wget -q -O /dev/null http://{pods.addresses['y/a']}/ && touch /tmp/leaked; {_SERVE}"
    manifest = yaml.safe_dump(pods.manifest("early", node, asks))
    space = pods.spaces["x"]
    for _ in range(3):
        pods.cluster.kubectl("apply", "-n", space, "-f", "-", stdin=manifest)
        pods.cluster.kubectl("wait", "-n", space, "--for=condition=Ready", "pod/early", "--timeout=60s")
        assert "leaked" not in pods.run("x/early", "ls /tmp")
        pods.cluster.kubectl("delete", "-n", space, "pod", "early")


def test_a_killed_agent_leaves_no_gap_and_its_successor_goes_on(pods: Pods) -> None:
    pods.policy("x", "deny", {}, ingress=[])
    closed = {(s, t) for s, t in ALL if t.startswith("y") or s == t}
    pods.settle(closed)
    old = pods.cluster.pid("agent")
    os.kill(old, signal.SIGKILL)
    for source in ("x/b", "y/b"):
        assert pods.reachable(source) == {target for asks, target in closed if asks == source}
    pods.cluster.tiphys("up", pods.cluster.name, "--nodes", "2")
    assert pods.cluster.pid("agent") != old
    pods.policy("x", "allow", {"pod": "a"}, ingress=[{}])
    pods.settle(closed | {(s, "x/a") for s in pods.addresses})


def test_a_sleeping_service_is_not_a_way_around(pods: Pods) -> None:
    space = pods.spaces["y"]
    pods.policy("y", "only", {"app": "sleeper"}, ingress=[{"from": [{"podSelector": {}}]}])
    for words in (("create", "deployment", "sleeper", f"--image={IMAGE}", "--port=80", "--replicas=0"),
                  ("expose", "deployment", "sleeper", "--port=80"),
                  ("annotate", "service", "sleeper", "tiphys.dev/scale-to-zero-after=1h")):  # fmt: skip
        pods.cluster.kubectl("-n", space, *words)
    address = pods.cluster.get("-n", space, "service", "sleeper")["spec"]["clusterIP"]
    assert "sleeper" not in pods.run("x/a", f"busybox timeout 5 wget -q -O - http://{address}/")
    assert "sleeper" in pods.run("y/a", f"busybox timeout 20 wget -q -O - http://{address}/")
    pods.cluster.kubectl("-n", space, "delete", "deployment,service", "sleeper")
