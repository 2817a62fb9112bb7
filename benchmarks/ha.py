"""`make bench-ha`: what the loss of control planes and nodes costs, as medians and 99th percentiles, on this machine.

A cluster of three control planes and two workers, namespaces as machines, with a web app on the workers. Again and
again all processes of the active control plane are killed: how long clients cannot write that know all servers, and
those that know the virtual address only; until the next controllers and scheduler have placed a new pod; visits of a
pod to the Service meanwhile. Then a worker dies: until its pods run on the other one. Then every kind of fault at
random under load, with the history checked. Then `recovery.py`. Needs root.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from math import inf
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "faults"))
from faulty import NODES, PLANES, Faulty, ready, running
from figures import report
from history import check
from nemesis import ROLES, Nemesis
from real_cluster import RealCluster, until
from recovery import recovery

from tiphys.api.errors import ApiError
from tiphys.api.meta import ObjectMeta
from tiphys.client.client import Client
from tiphys.client.http import Https
from tiphys.client.transport import Unreachable
from tiphys.kinds.apps.deployment import DEPLOYMENTS
from tiphys.kinds.core.configmap import CONFIG_MAPS
from tiphys.kinds.core.pod import PODS
from tiphys.main.pki import Pki

NAME = "bench-ha"
_PAUSE = 0.02
_HERE = str(Path(__file__))


def show(what: str, values: Sequence[float], target: float) -> None:
    """Where there are less than a hundred, the 99th percentile is the worst."""
    worst = sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]
    figures = f"{statistics.median(values):6.2f} s  p99 {worst:6.2f} s"
    print(f"{what:64} {figures}  (at most {target:g} s; {len(values)} times)", flush=True)


async def probe(pki: str, *servers: str) -> None:
    """Write again and again until told to stop; print when each write was acknowledged."""
    stop, times = asyncio.Event(), []
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = Client(Https(servers, Pki(Path(pki)).client_tls("admin"), agent="probe"), manager="probe")
    maps, number = client.of(CONFIG_MAPS), 0
    print("ready", flush=True)
    while not stop.is_set():
        number += 1
        meta = {"name": f"probe-{os.getpid()}", "namespace": "faults"}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"n": str(number)}}
        try:
            await maps.apply(body)
            times.append(time.monotonic())
        except (ApiError, Unreachable):
            pass
        await asyncio.sleep(_PAUSE)
    await client.close()
    print(json.dumps(times), flush=True)


@contextmanager
def probing(faulty: Faulty, servers: Sequence[str]) -> Iterator[list[float]]:
    """The times at which writes were acknowledged; they are there after the context."""
    times: list[float] = []
    said: list[str] = []
    with running(faulty.on_worker([_HERE, "--probe", faulty.pki, *servers]), said):
        yield times
    times += json.loads(said[0])


def gaps(times: Sequence[float], deaths: Sequence[float]) -> list[float]:
    """The longest time without an acknowledged write after each death, until the next one."""
    return [
        max(later - earlier for earlier, later in pairwise(times) if later > death and earlier < end)
        for death, end in pairwise([*deaths, inf])
    ]


def deployment(name: str) -> dict:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "none", "image": "none"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "faults"},
        "spec": spec,
    }


async def placed(faulty: Faulty, name: str, begun: float) -> float:
    """Make a Deployment and wait until its pod has a node: seconds since `begun`."""
    https = Https(faulty.urls, Pki(Path(faulty.pki)).client_tls("admin"), agent="bench")
    client = Client(https, manager="bench")
    while True:
        try:
            await client.of(DEPLOYMENTS).apply(deployment(name))
            pods, _ = await client.of(PODS).list("faults", labelSelector=f"app={name}")
            if any(pod.spec.node_name for pod in pods):
                break
        except (ApiError, Unreachable):
            pass
        await asyncio.sleep(_PAUSE)
    took = time.monotonic() - begun
    await client.of(DEPLOYMENTS).delete(ObjectMeta(name=name, namespace="faults"), propagation="Background")
    await client.close()
    return took


def planes(faulty: Faulty, rounds: int) -> None:
    """Kill the active control plane again and again."""
    nemesis, deaths, active = Nemesis(faulty.cluster, 0), [], []
    with (
        faulty.visited() as visits,
        probing(faulty, faulty.urls) as known,
        probing(faulty, [faulty.virtual]) as virtual,
    ):
        for number in range(rounds):
            leads = nemesis.leader()
            begun = time.monotonic()
            nemesis.signal(leads, signal.SIGKILL, *ROLES)
            deaths.append(begun)
            active.append(asyncio.run(placed(faulty, f"placed-{number}", begun)))
            nemesis.mend()
            ready(faulty.cluster)
            time.sleep(2)
    show("no writes after kill -9 of the active control plane, any server", gaps(known, deaths), 2)
    show("the same through the virtual address", gaps(virtual, deaths), 2)
    show("a new pod placed by the next controllers and scheduler", active, 3)
    print(f"visits to the Service meanwhile: {visits.answers}, failed: {len(visits.failures)} (at most 0)", flush=True)


def workers(faulty: Faulty, rounds: int) -> None:
    """Let a worker die, with its network, and the other one take its pods."""
    nemesis, took = Nemesis(faulty.cluster, 0), []
    for turn in range(rounds):
        lost, other = (PLANES + 1, NODES) if turn % 2 == 0 else (NODES, PLANES + 1)
        spread(faulty)
        begun = time.monotonic()
        with nemesis.cut_off(lost, "in", "out"):
            nemesis.signal(lost, signal.SIGKILL, "agent", "containerd")
            until(lambda node=f"{NAME}-{other}": on(faulty, node) == 3, "pods on the other worker", 60)
            took.append(time.monotonic() - begun)
        nemesis.mend()
    show("pods of a dead node run and are Ready elsewhere", took, 20)


def spread(faulty: Faulty) -> None:
    """Have pods of the app on both workers again."""
    while True:
        faulty.cluster.kubectl("rollout", "restart", "deployment/web")
        faulty.cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        until(lambda: on(faulty, "") == 3, "three pods")
        if all(on(faulty, f"{NAME}-{number}") for number in (PLANES + 1, NODES)):
            return


def on(faulty: Faulty, node: str) -> int:
    """How many Ready pods of the app a node has; "" for all nodes."""
    return sum(
        pod["spec"]["nodeName"] == (node or pod["spec"]["nodeName"])
        for pod in faulty.cluster.get("pods", "-l", "app=web")["items"]
        if "deletionTimestamp" not in pod["metadata"]
        and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
    )


def faults(faulty: Faulty, rounds: int, seed: int) -> None:
    nemesis = Nemesis(faulty.cluster, seed, (2.0, 8.0))
    with faulty.visited() as visits, faulty.load(seed) as load:
        nemesis.run(list(nemesis.faults()), rounds)
    print(f"every fault {rounds} times, seed {seed}", report(load.history, check(load.history), nemesis.done), sep="\n")
    print(
        f"visits to the Service meanwhile: {visits.answers}, failed: {len(visits.failures)}", *visits.failures, sep="\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="of the active control plane")
    parser.add_argument("--deaths", type=int, default=4, help="of a worker")
    parser.add_argument("--objects", type=int, default=50_000, help="of a cluster that is restored and migrated")
    parser.add_argument("--rounds", type=int, default=2, help="of every kind of fault")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the order and the victims of faults")
    parser.add_argument("--probe", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe:
        return asyncio.run(probe(*options.probe))
    cluster = RealCluster(NAME, Path(f"/etc/tiphys/{NAME}.kubeconfig"))
    try:
        cluster.tiphys("down", NAME, "--purge")
        cluster.tiphys("up", NAME, "--control-planes", str(PLANES), "--nodes", str(NODES))
        faulty = Faulty(cluster)
        with tempfile.TemporaryDirectory() as scratch:
            faulty.prepare(Path(scratch))
        ready(cluster)
        if options.kills:
            planes(faulty, options.kills)
        if options.deaths:
            workers(faulty, options.deaths)
        if options.rounds:
            faults(faulty, options.rounds, options.seed)
    finally:
        cluster.tiphys("down", NAME, "--purge")
    if options.objects:
        recovery(options.objects)


if __name__ == "__main__":
    sys.exit(main() if os.geteuid() == 0 else "the nodes' namespaces need root")
