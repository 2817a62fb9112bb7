"""`make bench-nodes`: what several nodes on one machine cost, and the network between their pods, as medians.

Start-up: `tiphys up --nodes N`. Memory: PSS of a further node's agent and containerd; idle CPU of its agent. Network:
TCP round trips of one byte, and bytes one way, between two pods of one node, and of two over the overlay. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))
from bench import cpu, pss, report
from real_cluster import IMAGE, RealCluster, build_image

NAME = "bench-nodes"
PORT = 7777


def serve() -> None:
    """Answer byte by byte who begins with P, and take in whatever others send."""
    with socket.create_server(("0.0.0.0", PORT)) as listener:
        print("ready", flush=True)
        while True:
            peer, _ = listener.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with peer:
                echo, buffer = peer.recv(1) == b"P", bytearray(1 << 20)
                while count := peer.recv_into(buffer):
                    if echo:
                        peer.sendall(buffer[:count])


def measure(address: str, seconds: float = 2.0) -> None:
    """Print the median round trip in microseconds, and gigabits a second."""
    trips = []
    with connect(address, b"P") as peer:
        for _ in range(3000):
            began = time.perf_counter()
            peer.sendall(b"x")
            peer.recv(1)
            trips.append(time.perf_counter() - began)
    with connect(address, b"B") as peer:
        sent, data, began = 0, bytes(1 << 20), time.perf_counter()
        while time.perf_counter() - began < seconds:
            peer.sendall(data)
            sent += len(data)
        took = time.perf_counter() - began
    print(json.dumps([statistics.median(trips) * 1e6, sent * 8 / took / 1e9]))


def connect(address: str, kind: bytes) -> socket.socket:
    peer = socket.create_connection((address, PORT))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.sendall(kind)
    return peer


def inside(cluster: RealCluster, pod: str, *words: str) -> list[str]:
    """The command that runs this file in a pod's network."""
    uid = cluster.kubectl("get", "pod", pod, "-o", "jsonpath={.metadata.uid}")
    found = Path(f"/sys/fs/cgroup/memory/tiphys-{NAME}")
    found = found if found.exists() else Path(f"/sys/fs/cgroup/tiphys-{NAME}")
    pids = [pid for path in found.glob(f"**/pod{uid}/*/cgroup.procs") for pid in path.read_text().split()]
    return ["nsenter", f"--net=/proc/{pids[0]}/ns/net", sys.executable, __file__, *words]


def network(cluster: RealCluster) -> None:
    places = {"a": 0, "b": 0, "c": 1}
    names = [item["metadata"]["name"] for item in cluster.get("nodes")["items"]]
    nodes = sorted(names, key=lambda name: name.startswith(NAME))
    for pod, place in places.items():
        overrides = json.dumps({"spec": {"nodeName": nodes[place], "terminationGracePeriodSeconds": 0}})
        cluster.kubectl("run", pod, f"--image={IMAGE}", f"--overrides={overrides}", "--", "sleep", "600")
        cluster.kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=30s")
    address = cluster.kubectl("get", "pod", "a", "-o", "jsonpath={.status.podIP}")
    server = subprocess.Popen(inside(cluster, "a", "--serve"), stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        server.stdout.readline()
        for pod, what in (("b", "pods of one node"), ("c", "pods of two nodes")):
            done = subprocess.run(inside(cluster, pod, "--measure", address), stdout=subprocess.PIPE, check=True)
            trip, rate = json.loads(done.stdout)
            report(f"{what}: TCP round trip", trip, "us")
            report(f"{what}: TCP one way", rate, "Gbit/s")
    finally:
        server.terminate()
        server.wait()


def weight(cluster: RealCluster, seconds: float = 15.0) -> None:
    """Of the second node, with nothing on it."""
    agent, runtime = cluster.pid("nodes/2/agent"), cluster.pid("nodes/2/containerd/containerd")
    before = cpu(agent)
    time.sleep(seconds)
    report("a further node idle, PSS of agent + containerd", pss(agent) + pss(runtime), "MiB",
           f"({pss(agent):.0f} + {pss(runtime):.0f})")  # fmt: skip
    report("a further node's agent idle, CPU of one core", 100 * (cpu(agent) - before) / seconds, "%")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--measure", metavar="ADDRESS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve()
    if options.measure:
        return measure(options.measure)
    cluster, took = RealCluster(NAME, Path(f"/etc/tiphys/{NAME}.kubeconfig")), []
    try:
        for _ in range(options.rounds):
            cluster.tiphys("down", NAME, "--purge")
            began = time.monotonic()
            cluster.tiphys("up", NAME, "--nodes", str(options.nodes))
            took.append(time.monotonic() - began)
        report(f"tiphys up --nodes {options.nodes}, from nothing to all Ready", statistics.median(took), "s")
        weight(cluster)
        with tempfile.TemporaryDirectory() as scratch:
            build_image(cluster, Path(scratch))
        network(cluster)
    finally:
        cluster.tiphys("down", NAME, "--purge")


if __name__ == "__main__":
    sys.exit(main() if os.geteuid() == 0 else "the nodes' namespaces need root")
