"""Scheduling throughput in process: pods per second that get a node of 5,000, by what they ask for.

Only the decision and its book-keeping are measured (`choose` and `place`), not the API server.
Run with `make bench-scheduler`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import msgspec

from tiphys.kinds.core.node import Node
from tiphys.kinds.core.pod import Pod
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.pipeline import choose
from tiphys.scheduler.pod import PodInfo

Json = dict[str, Any]


def cluster(nodes: int) -> Cluster:
    """Nodes of 32 cores in ten zones; one in a hundred is tainted."""
    made = Cluster()
    for number in range(nodes):
        taints = [{"key": "dedicated", "value": "x", "effect": "NoSchedule"}] if number % 100 == 0 else []
        made.set_node(msgspec.convert({
            "metadata": {"name": f"node-{number}", "labels": {"zone": str(number % 10)}},
            "spec": {"taints": taints},
            "status": {"allocatable": {"cpu": "32", "memory": "64Gi", "ephemeral-storage": "100Gi", "pods": "110"}},
        }, Node))  # fmt: skip
    return made


def basic() -> Json:
    requests = {"cpu": "100m", "memory": "500Mi"}
    return {"containers": [{"name": "c", "resources": {"requests": requests}}]}


def in_zone() -> Json:
    expression = {"key": "zone", "operator": "In", "values": ["1", "2"]}
    required = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return basic() | {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


def host_port() -> Json:
    return {"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080}]}]}


def refused() -> Json:
    return basic() | {"nodeSelector": {"zone": "none"}}


def measure(spec: Callable[[], Json], nodes: int, pods: int) -> float:
    """Pods per second, each a new one of the same shape."""
    made = cluster(nodes)
    waiting = [
        PodInfo(msgspec.convert({"metadata": {"name": f"p-{n}", "namespace": "d", "uid": str(n)}, "spec": spec()}, Pod))
        for n in range(pods)
    ]
    started = time.perf_counter()
    for info in waiting:
        found = choose(info, made)
        if isinstance(found, int):
            made.place(info, made.name(found))
    return pods / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=2000)
    arguments = parser.parse_args()
    print(f"{arguments.nodes} nodes")
    for spec in (basic, in_zone, host_port, refused):
        rate = measure(spec, arguments.nodes, arguments.pods)
        print(f"{spec.__name__.replace('_', ' '):12}{rate:>10,.0f} pods/s")


if __name__ == "__main__":
    main()
