"""`make bench-scale`: a large Deployment on a thousand simulated nodes, with the real server process.

From `apply` until every replica is Running, what that costs the server in CPU time, and its memory with many more pods
than that. The nodes run in the server's process (`tiphys up --simulate`), so their kubelets are in the figures too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))
from bench import cpu, pss
from real_cluster import TIPHYS, RealCluster

NAME = "bench-scale"
Json = dict[str, Any]


def deployment(replicas: int) -> Json:
    requests = {"cpu": "10m", "memory": "16Mi"}
    container = {"name": "c", "image": "registry.example/app:1", "resources": {"requests": requests}}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "app"}},
            "template": {"metadata": {"labels": {"app": "app"}}, "spec": {"containers": [container]}},
        },
    }  # fmt: skip


def ready(cluster: RealCluster, replicas: int, seconds: float) -> float:
    """Seconds until so many replicas are ready."""
    began = time.perf_counter()
    while cluster.get("deployment", "app")["status"].get("readyReplicas", 0) < replicas:
        if time.perf_counter() - began > seconds:
            raise SystemExit(f"not {replicas} replicas in {seconds:.0f} s")
        time.sleep(0.25)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--replicas", type=int, default=5000)
    parser.add_argument("--held", type=int, default=30000, help="pods for the memory figure; 0: not measured")
    parser.add_argument("--seconds", type=float, default=600)
    options = parser.parse_args()
    subprocess.run([TIPHYS, "up", NAME, "--simulate", str(options.nodes)], check=True)
    cluster = RealCluster(NAME, Path(f"/etc/tiphys/{NAME}.kubeconfig"))
    try:
        server = cluster.pid("server")
        spent, memory = cpu(server), pss(server)
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(deployment(options.replicas)))
        took = ready(cluster, options.replicas, options.seconds)
        spent = cpu(server) - spent
        print(f"{options.replicas} replicas on {options.nodes} nodes: all Running after {took:.1f} s,")
        print(f"  {spent:.1f} s of CPU, {spent / options.replicas * 1e3:.2f} ms a pod;", end=" ")
        print(f"memory {memory:.0f} -> {pss(server):.0f} MiB")
        if options.held > options.replicas:
            cluster.kubectl("scale", "deployment/app", f"--replicas={options.held}")
            took = ready(cluster, options.held, options.seconds)
            print(f"{options.held} replicas: after {took:.1f} s more; memory {pss(server):.0f} MiB")
    finally:
        subprocess.run([TIPHYS, "down", NAME, "--purge"], check=True)


if __name__ == "__main__":
    main()
