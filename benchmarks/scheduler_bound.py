"""Pods per second that are scheduled and durably bound: the whole scheduler against an API server over SQLite.

Pods are made first, then the scheduler starts; the time runs until the last has its node. One process, as
`tiphys server` is one. For preemption every node is full of four pods of low priority, and every pod has two of them
evicted. Run with `make bench-scheduler`.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import scheduler as shapes
import uvloop
from cryptography.hazmat.primitives.asymmetric import ec

from tiphys.api.http import User
from tiphys.base import collector
from tiphys.base.clock import SystemClock
from tiphys.base.tasks import Supervisor
from tiphys.client.client import Client
from tiphys.client.informer import Informers
from tiphys.client.inprocess import InProcess
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.pod import PODS, Pod
from tiphys.kinds.core.serviceaccount import SERVICE_ACCOUNTS
from tiphys.kinds.registry import builtin
from tiphys.kinds.scheduling.priorityclass import PRIORITY_CLASSES
from tiphys.scheduler.scheduler import Scheduler
from tiphys.server.admission.plugins.order import Selected
from tiphys.server.assemble import Settings, assemble
from tiphys.server.bootstrap import bootstrap
from tiphys.store.sqlite import SqliteStore

Json = dict[str, Any]
_WORKLOADS = ["basic", "topology_spread", "anti_affinity", "pod_affinity", "preemption"]
_ROOM = {"cpu": "32", "memory": "64Gi", "ephemeral-storage": "100Gi", "pods": "110"}


async def measure(spec: Callable[[], Json], nodes: int, pods: int, where: Path) -> float:
    clock = SystemClock()
    admission = Selected(disable=["TaintNodesByCondition"])
    network, key = ipaddress.IPv4Network("10.43.0.0/16"), ec.generate_private_key(ec.SECP256R1())
    settings = Settings(network, "https://kubernetes.default.svc", key, admission=admission)
    assembled = await assemble(await SqliteStore.open(where / "state.db"), builtin(), settings, clock)
    user = User("system:bench", groups=("system:masters", "system:authenticated"))
    transport = InProcess(assembled.server.handle, user, "bench")
    client = Client(transport, manager="bench")
    async with Supervisor(clock) as supervisor:
        supervisor.start("cache", assembled.cache.run)
        await bootstrap(transport, settings.service_network)
        await client.of(SERVICE_ACCOUNTS).create_json({"metadata": {"name": "default", "namespace": "default"}})
        await _all(client.of(NODES).create_json(_node(number)) for number in range(nodes))
        if spec is preemption:
            for name, value in (("low", 1), ("high", 10)):
                await client.of(PRIORITY_CLASSES).create_json({"metadata": {"name": name}, "value": value})
            await _all(client.of(PODS).create_json(_victim(number)) for number in range(nodes * 4))
        await _all(client.of(PODS).create_json(_pod(number, spec())) for number in range(pods))
        informers = Informers(client, clock)
        done = asyncio.Event()
        bound = 0

        def on_pod(old: Pod | None, new: Pod | None) -> None:
            nonlocal bound
            if new is not None and new.spec.node_name and old is not None and not old.spec.node_name:
                bound += 1
                if bound == pods:
                    done.set()

        scheduler = Scheduler(client, informers, clock)
        informers.of(PODS).add_handler(on_pod)
        for informer in informers:
            supervisor.start(informer.resource.plural, informer.run)
        await informers.synced()
        collector.settle()
        started = time.perf_counter()
        supervisor.start("scheduler", scheduler.run)
        await done.wait()
        rate = pods / (time.perf_counter() - started)
        assembled.server.watches.drain()
        return rate


def _node(number: int) -> Json:
    labels = {"zone": str(number % 10), "kubernetes.io/hostname": f"node-{number}"}
    meta = {"name": f"node-{number}", "labels": labels}
    return {"metadata": meta, "status": {"allocatable": _ROOM, "capacity": _ROOM}}


def _pod(number: int, spec: Json) -> Json:
    spec["containers"][0]["image"] = "i"
    meta = {"name": f"p-{number}", "namespace": "default", "labels": {"app": "web-0"}}
    return {"metadata": meta, "spec": spec}


def preemption() -> Json:
    container = {"name": "c", "resources": {"requests": {"cpu": "12"}}}
    return {"priorityClassName": "high", "containers": [container]}


def _victim(number: int) -> Json:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "8"}}}
    spec = {
        "priorityClassName": "low", "nodeName": f"node-{number // 4}", "containers": [container],
        "terminationGracePeriodSeconds": 0,
    }  # fmt: skip
    return {"metadata": {"name": f"victim-{number}", "namespace": "default"}, "spec": spec}


async def _all(work: Iterator[Awaitable[Any]]) -> None:
    """A few hundred at once: writes share their commits."""
    for batch in iter(lambda: list(islice(work, 256)), []):
        await asyncio.gather(*batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", default=_WORKLOADS)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=2000)
    arguments = parser.parse_args()
    print(f"{arguments.nodes} nodes, durably bound")
    for name in arguments.workloads:
        with tempfile.TemporaryDirectory() as where:
            shape = preemption if name == "preemption" else getattr(shapes, name)
            run = measure(shape, arguments.nodes, arguments.pods, Path(where))
            rate = uvloop.run(run)
        print(f"{name.replace('_', ' '):16}{rate:>10,.0f} pods/s")


if __name__ == "__main__":
    main()
