"""Scheduling throughput in process: pods per second that get a node of 5,000, by what they ask for.

Only the decision and its book-keeping are measured (`choose` and `place`), not the API server.
Run with `make bench-scheduler`.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from tiphys.base.clock import VirtualClock
from tiphys.client.timers import Timers
from tiphys.kinds.core.node import Node
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.resource.deviceclass import DEVICE_CLASSES, DeviceClass
from tiphys.kinds.resource.resourceclaim import RESOURCE_CLAIMS, ResourceClaim
from tiphys.kinds.resource.resourceslice import RESOURCE_SLICES, ResourceSlice
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.devices.view import Devices
from tiphys.scheduler.pipeline import DEFAULT, Unschedulable, choose
from tiphys.scheduler.plugin import POD_PLACED
from tiphys.scheduler.plugins.dynamic_resources import DynamicResources
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.preemption import Preemption
from tiphys.scheduler.queue import SchedulingQueue

Json = dict[str, Any]


def cluster(nodes: int) -> Cluster:
    """Nodes of 32 cores in ten zones; one in a hundred is tainted."""
    made = Cluster()
    for number in range(nodes):
        taints = [{"key": "dedicated", "value": "x", "effect": "NoSchedule"}] if number % 100 == 0 else []
        name = f"node-{number}"
        made.set_node(msgspec.convert({
            "metadata": {"name": name, "labels": {"zone": str(number % 10), "kubernetes.io/hostname": name}},
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


def labelled(number: int) -> Json:
    return {"app": f"web-{number % 10}"}


def spread(hard: bool) -> Json:
    constraint = {
        "topologyKey": "zone", "maxSkew": 5, "labelSelector": {"matchLabels": {"app": "web-0"}},
        "whenUnsatisfiable": "DoNotSchedule" if hard else "ScheduleAnyway",
    }  # fmt: skip
    return basic() | {"topologySpreadConstraints": [constraint]}


def topology_spread() -> Json:
    return spread(True)


def soft_spread() -> Json:
    return spread(False)


def affinity(side: str, key: str, required: bool = True) -> Json:
    term: Json = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": "web-0"}}}
    if required:
        return basic() | {"affinity": {side: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}
    weighted = {"weight": 10, "podAffinityTerm": term}
    return basic() | {"affinity": {side: {"preferredDuringSchedulingIgnoredDuringExecution": [weighted]}}}


def anti_affinity() -> Json:
    return affinity("podAntiAffinity", "kubernetes.io/hostname")


def pod_affinity() -> Json:
    return affinity("podAffinity", "zone")


def soft_affinity() -> Json:
    return affinity("podAffinity", "zone", required=False)


def soft_anti() -> Json:
    return affinity("podAntiAffinity", "kubernetes.io/hostname", required=False)


def pod(name: str, spec: Json, labels: Json) -> PodInfo:
    meta = {"name": name, "namespace": "d", "uid": name, "labels": labels}
    return PodInfo(msgspec.convert({"metadata": meta, "spec": spec}, Pod))


def measure(spec: Callable[[], Json], nodes: int, pods: int) -> float:
    """Pods per second, each a new one of the same shape, all labelled alike."""
    made = cluster(nodes)
    waiting = [pod(f"p-{n}", spec(), {"app": "web-0"}) for n in range(pods)]
    started = time.perf_counter()
    for info in waiting:
        found = choose(info, made)
        if isinstance(found, int):
            made.place(info, made.name(found))
    return pods / (time.perf_counter() - started)


def churn(nodes: int, pods: int) -> float:
    """All shapes in turn, under ten labels, and every third pod goes again."""
    made = cluster(nodes)
    shapes = (basic, in_zone, topology_spread, soft_spread, anti_affinity, pod_affinity, soft_affinity, soft_anti)
    waiting = [pod(f"p-{n}", shapes[n % len(shapes)](), labelled(n)) for n in range(pods)]
    started = time.perf_counter()
    for number, info in enumerate(waiting):
        found = choose(info, made)
        if isinstance(found, int):
            made.place(info, made.name(found))
        if number % 3 == 2:
            made.remove_pod(waiting[number - 2].key)
    return pods / (time.perf_counter() - started)


def preemption(nodes: int, pods: int) -> float:
    """Every node is full of four pods of low priority; each new pod evicts some and takes their place."""
    made, finder = cluster(nodes), Preemption()
    filler = {"priority": 1, "containers": [{"name": "c", "resources": {"requests": {"cpu": "8"}}}]}
    for number in range(nodes * 4):
        made.place(pod(f"low-{number}", filler, {}), f"node-{number // 4}")
    spec = {"priority": 10, "containers": [{"name": "c", "resources": {"requests": {"cpu": "12"}}}]}
    waiting = [pod(f"p-{n}", spec, {}) for n in range(pods)]
    started = time.perf_counter()
    for info in waiting:
        assert not isinstance(choose(info, made), int)
        found = finder.find(info, made, DEFAULT)
        assert not isinstance(found, str), found
        made.nominate(info, made.name(found.row))
        for victim in found.victims:
            made.remove_pod(victim.key)
        made.withdraw(info.key)
        row = choose(info, made, promised=found.row)
        assert isinstance(row, int)
        made.place(info, made.name(row))
    return pods / (time.perf_counter() - started)


def backlog(nodes: int, pods: int) -> float:
    """Basic pods while a thousand wait that no node takes; each event asks all of them whether it helps."""
    made = cluster(nodes)
    clock = VirtualClock()
    queue = SchedulingQueue(clock, Timers(clock))
    for number in range(1000):
        info = pod(f"waits-{number}", refused(), {})
        found = choose(info, made)
        assert isinstance(found, Unschedulable)
        plugins = [each for each in DEFAULT if each.name in found.plugins]
        queue.waits(info, frozenset().union(*(each.retry_on for each in plugins)), plugins)
    waiting = [pod(f"p-{n}", basic(), {}) for n in range(pods)]
    started = time.perf_counter()
    for info in waiting:
        found = choose(info, made)
        assert isinstance(found, int)
        made.place(info, made.name(found))
        queue.happened(POD_PLACED, info)
    return pods / (time.perf_counter() - started)


def devices(nodes: int, pods: int) -> float:
    """Pods whose claims ask for two of the eight devices of a node, of one NUMA node."""
    made, driver = cluster(nodes), "gpu.example.com"
    view, plugin = made.view(Devices), next(each for each in DEFAULT if isinstance(each, DynamicResources))
    view.changed(DEVICE_CLASSES, None, msgspec.convert({"metadata": {"name": "gpu"}}, DeviceClass))
    for number in range(nodes):
        name, pool = f"node-{number}", {"name": f"node-{number}", "generation": 1, "resourceSliceCount": 1}
        found = [{
            "name": f"gpu-{gpu}", "attributes": {"numa": {"int": gpu // 4}}, "capacity": {"memory": {"value": "80Gi"}},
        } for gpu in range(8)]  # fmt: skip
        spec = {"driver": driver, "pool": pool, "nodeName": name, "devices": found}
        view.changed(RESOURCE_SLICES, None, msgspec.convert({"metadata": {"name": name}, "spec": spec}, ResourceSlice))
    large = f"device.capacity['{driver}'].memory.compareTo(quantity('40Gi')) >= 0"
    wanted = {"deviceClassName": "gpu", "count": 2, "selectors": [{"cel": {"expression": large}}]}
    asked = {"requests": [{"name": "r", "exactly": wanted}], "constraints": [{"matchAttribute": f"{driver}/numa"}]}
    for number in range(pods):
        meta = {"name": f"c-{number}", "namespace": "d", "uid": f"c-{number}"}
        claim = {"metadata": meta, "spec": {"devices": asked}}
        view.changed(RESOURCE_CLAIMS, None, msgspec.convert(claim, ResourceClaim))
    uses = [[{"name": "gpus", "resourceClaimName": f"c-{n}"}] for n in range(pods)]
    waiting = [pod(f"p-{n}", basic() | {"resourceClaims": use}, {}) for n, use in enumerate(uses)]
    started = time.perf_counter()
    for info in waiting:
        row = choose(info, made)
        if isinstance(row, int):
            made.place(info, made.name(row))
            plugin.reserve(info, made.name(row), made)
    return pods / (time.perf_counter() - started)


SHAPES = (
    basic, in_zone, host_port, refused, topology_spread, soft_spread, anti_affinity, pod_affinity, soft_affinity,
    soft_anti,
)  # fmt: skip
WHOLE = (churn, preemption, backlog, devices)


def profiled(run: Callable[[], float]) -> float:
    profile = cProfile.Profile()
    rate = profile.runcall(run)
    pstats.Stats(profile).sort_stats("tottime").print_stats(12)
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", help="by name, all if none is named")
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=2000)
    parser.add_argument("--profile", action="store_true", help="tell where the time goes")
    arguments = parser.parse_args()
    runs: dict[str, Callable[[], float]] = {
        shape.__name__: partial(measure, shape, arguments.nodes, arguments.pods) for shape in SHAPES
    }
    runs |= {run.__name__: partial(run, arguments.nodes, arguments.pods) for run in WHOLE}
    print(f"{arguments.nodes} nodes")
    for name in arguments.workloads or runs:
        rate = profiled(runs[name]) if arguments.profile else runs[name]()
        print(f"{name.replace('_', ' '):16}{rate:>10,.0f} pods/s")


if __name__ == "__main__":
    main()
