"""What would have to change for one node to take a pod that a plugin refuses there: the smallest change we know.

A remedy is a change of the node, of the pod, or an eviction, with what it costs its user; whoever asks tries it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from tiphys.kinds.core.affinity import NodeSelectorTerm, Toleration
from tiphys.kinds.core.node import Node
from tiphys.kinds.core.node_selector import term_matches
from tiphys.kinds.core.pod import Pod
from tiphys.scheduler import volume_advice
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.devices import advice
from tiphys.scheduler.matching import Term
from tiphys.scheduler.plugins.node_ports import clash
from tiphys.scheduler.plugins.taint_toleration import HARD, untolerated
from tiphys.scheduler.pod import CPU, EPHEMERAL, MEMORY, PODS, PodInfo

# What a change costs whoever makes it, against the others; each evicted pod counts.
_UNCORDON, _LABEL, _TOLERATE, _LOOSEN, _SHRINK, _EVICT = 1.0, 3.0, 4.0, 6.0, 8.0, 10.0
_VOLUME = 12.0


@dataclass(frozen=True, slots=True)
class Remedy:
    """`cause` is what is wrong with the node, `change` what would mend it; the rest is the change itself."""

    cause: str
    change: str
    cost: float
    evict: tuple[PodInfo, ...] = ()
    node: Node | None = None
    pod: Pod | None = None


Finder = Callable[[PodInfo, Cluster, int], Iterable[Remedy]]


def quantity(name: str, value: int) -> str:
    """As people write it: 200m CPU, 1.5 CPU, 512Mi memory, 2 x.io/gpu."""
    if name == CPU:
        return f"{value}m CPU" if value % 1000 else f"{value // 1000} CPU"
    if name in (MEMORY, EPHEMERAL):
        return f"{-(-value // (1 << 20))}Mi {name}"
    return f"{value} {name}"


def _node(cluster: Cluster, row: int) -> Node:
    entry = cluster.rows[row]
    assert entry is not None, "only rows with nodes are looked at"
    return entry.node


def _evicting(pods: Iterable[PodInfo], why: str, share: float = 0.0) -> Remedy:
    """`share` is the part of the node that is freed: of two evictions the smaller is the cheaper."""
    gone = tuple(pods)
    names = ", ".join(pod.key for pod in gone)
    # Those of high priority should be the last that anybody thinks of.
    weight = sum(1.0 + (pod.pod.spec.priority > 1_000_000_000) * 10 for pod in gone)
    return Remedy(why, f"evicting {names} would free it", _EVICT * weight + share, evict=gone)


def resources(info: PodInfo, cluster: Cluster, row: int) -> Iterator[Remedy]:
    lacks = dict(_lacking(info, cluster, row))
    name, short = next(iter(lacks.items()))
    column = cluster.columns.get(name)
    room = int(cluster.allocatable[row, column]) if column is not None else 0
    what = f"lacks {quantity(name, short)}" if name != PODS else f"has its {room} pods already"
    wanted = info.requests[name]
    if room < wanted:
        why = f"has {quantity(name, room)} in all, the pod requests {quantity(name, wanted)}"
        yield Remedy(why, f"a node with more {name} would take it", _SHRINK * 10)
        if room:
            yield Remedy(
                why,
                f"requesting at most {quantity(name, room)} would do",
                _SHRINK + 1 - room / wanted,
                pod=_shrunk(info, name, room),
            )
        return
    holders = [pod for pod in cluster.pods(row) if pod.requests.get(name)]
    enough = [pod for pod in holders if pod.requests[name] >= short]
    if enough:
        least = min(enough, key=lambda pod: (pod.pod.spec.priority, pod.requests[name], pod.key))
        yield _evicting([least], what, least.requests[name] / room)
    elif holders:
        holders.sort(key=lambda pod: -pod.requests[name])
        gone, freed = [], 0
        while holders and freed < short:
            gone.append(holders.pop(0))
            freed += gone[-1].requests[name]
        yield _evicting(gone, what, freed / room)
    if name != PODS and wanted > short and len(info.pod.spec.containers) == 1:
        smaller = _shrunk(info, name, wanted - short)
        yield Remedy(what, f"requesting at most {quantity(name, wanted - short)} would do", _SHRINK * 2, pod=smaller)


def _lacking(info: PodInfo, cluster: Cluster, row: int) -> Iterator[tuple[str, int]]:
    for name, value in info.requests.items():
        left = cluster.available(name, info.pod.spec.priority)
        here = int(left[row]) if left is not None else 0
        if value and here < value:
            yield name, value - max(here, 0)


def _shrunk(info: PodInfo, name: str, value: int) -> Pod | None:
    """The pod with a smaller request; of several containers nobody can say whose."""
    if len(info.pod.spec.containers) != 1:
        return None
    (container,) = info.pod.spec.containers
    text = f"{value}m" if name == CPU else str(value)
    smaller = replace(container.resources, requests={**container.resources.requests, name: text})
    return _pod(info, containers=[replace(container, resources=smaller)])


def _pod(info: PodInfo, **spec: object) -> Pod:
    return replace(info.pod, spec=replace(info.pod.spec, **spec))


def cordoned(info: PodInfo, cluster: Cluster, row: int) -> Iterator[Remedy]:
    node = _node(cluster, row)
    free = replace(node, spec=replace(node.spec, unschedulable=False))
    yield Remedy("is cordoned", f"kubectl uncordon {node.metadata.name}", _UNCORDON, node=free)


def taints(info: PodInfo, cluster: Cluster, row: int) -> Iterator[Remedy]:
    found = untolerated(_node(cluster, row), info.pod.spec.tolerations, HARD)
    words = ", ".join(f"{taint.key}{'=' if taint.value else ''}{taint.value}:{taint.effect}" for taint in found)
    more = [Toleration(taint.key, "Exists", "", taint.effect) for taint in found]
    why = f"has the taint {words}"
    tolerant = _pod(info, tolerations=[*info.pod.spec.tolerations, *more])
    # Ours and upstream's own taints tell of trouble with the node; the mending of that takes them away.
    if any(taint.key.startswith("node.kubernetes.io/") for taint in found):
        yield Remedy(why, "mending what the taint tells of, or a toleration of it", _TOLERATE * 2, pod=tolerant)
        return
    yield Remedy(why, f"a toleration of {words} in the pod would do", _TOLERATE, pod=tolerant)


def node_labels(info: PodInfo, cluster: Cluster, row: int) -> Iterator[Remedy]:
    node = _node(cluster, row)
    labels = dict(node.metadata.labels)
    missing = {key: value for key, value in info.pod.spec.node_selector.items() if labels.get(key) != value}
    labels |= missing
    affinity = info.pod.spec.affinity.node_affinity
    required = affinity.required if affinity is not None else None
    labelled = _with_labels(node, labels)
    if required is not None and not any(term_matches(term, labelled) for term in required.node_selector_terms):
        found: list[dict[str, str]] = [
            added for term in required.node_selector_terms if (added := _wishes(term, labelled)) is not None
        ]
        if not found:
            why = "does not match the pod's required node affinity"
            without = replace(info.pod.spec.affinity, node_affinity=None)
            yield Remedy(why, "leaving the node affinity out would do", _LOOSEN * 3, pod=_pod(info, affinity=without))
            return
        missing |= sorted(found, key=len)[0]
    words = " ".join(f"{key}={value}" for key, value in missing.items())
    change = f"kubectl label node {node.metadata.name} --overwrite {words}"
    labelled = _with_labels(node, labels | missing)
    yield Remedy(f"is not labelled {words}", change, _LABEL * max(len(missing), 1), node=labelled)


def _with_labels(node: Node, labels: Mapping[str, str]) -> Node:
    return replace(node, metadata=replace(node.metadata, labels=dict(labels)))


def _wishes(term: NodeSelectorTerm, node: Node) -> dict[str, str] | None:
    """The labels that make a node match, None if labels cannot."""
    added: dict[str, str] = {}
    for rule in term.match_expressions:
        if rule.operator in ("In", "Exists") and rule.values[:1]:
            if node.metadata.labels.get(rule.key) not in rule.values:
                added[rule.key] = rule.values[0]
        elif rule.operator == "Exists":
            added[rule.key] = node.metadata.labels.get(rule.key, "")
    return added if term_matches(term, _with_labels(node, {**node.metadata.labels, **added})) else None


def ports(info: PodInfo, cluster: Cluster, row: int) -> Iterator[Remedy]:
    for address, protocol, number in info.ports:
        wanted = (address, protocol, number)
        holders = [pod for pod in cluster.pods(row) if any(clash(wanted, other) for other in pod.ports)]
        if holders:
            yield _evicting(holders, f"has host port {number}/{protocol} taken")
            return


def spreading(info: PodInfo, cluster: Cluster, row: int) -> Iterator[Remedy]:
    node, constraints = _node(cluster, row), info.pod.spec.topology_spread_constraints
    hard = [each for each in constraints if each.when_unsatisfiable == "DoNotSchedule"]
    for key in (each.topology_key for each in hard):
        if key not in node.metadata.labels:
            labelled = _with_labels(node, {**node.metadata.labels, key: node.metadata.name})
            change = f"kubectl label node {node.metadata.name} {key}=VALUE"
            yield Remedy(f"has no label {key}", change, _LABEL, node=labelled)
            return
    looser = [replace(each, when_unsatisfiable="ScheduleAnyway") for each in constraints]
    keys = ", ".join(dict.fromkeys(each.topology_key for each in hard))
    why = f"would have too many pods of the kind by {keys} (maxSkew {min(each.max_skew for each in hard)})"
    pod = _pod(info, topology_spread_constraints=looser)
    yield Remedy(why, "whenUnsatisfiable: ScheduleAnyway, or a larger maxSkew, would do", _LOOSEN, pod=pod)


def neighbours(info: PodInfo, cluster: Cluster, row: int) -> Iterator[Remedy]:
    affinity = info.pod.spec.affinity
    for term in info.terms.affinity:
        if not _meant(cluster, row, term):
            why = f"has no pod with {term.who.selector} in its {term.topology_key}"
            pod = _pod(info, affinity=replace(affinity, pod_affinity=None))
            yield Remedy(why, "starting such a pod there, or leaving the affinity out", _LOOSEN, pod=pod)
            return
    hostile = [(term, pod) for term in info.terms.anti_affinity for pod in _meant(cluster, row, term)]
    for term in cluster.population.meant_by(info):
        if term.anti and not term.weight:
            hostile += [(term, pod) for pod in _around(cluster, row, term) if term in pod.terms.anti_affinity]
    if hostile:
        pods = {pod.key: pod for _, pod in hostile}
        keys = ", ".join(dict.fromkeys(term.topology_key for term, _ in hostile))
        yield _evicting(pods.values(), f"has pods in its {keys} that anti-affinity keeps this one from")


def _meant(cluster: Cluster, row: int, term: Term) -> list[PodInfo]:
    return [pod for pod in _around(cluster, row, term) if cluster.population.means(term.who, pod)]


def _around(cluster: Cluster, row: int, term: Term) -> list[PodInfo]:
    """The pods in the row's domain."""
    ids = cluster.domains(term.topology_key).ids
    rows = np.flatnonzero(ids == ids[row]) if ids[row] else ()
    return [pod for other in rows for pod in cluster.pods(int(other))]


def devices(info: PodInfo, cluster: Cluster, row: int) -> Iterator[Remedy]:
    """Not tried out: claims are freed by who ends the pods that use them."""
    for cause, change in advice.of_node(info, cluster, row):
        yield Remedy(cause, change, _EVICT)


def volumes(info: PodInfo, cluster: Cluster, row: int) -> Iterator[Remedy]:
    """Not tried out: volumes are made by others."""
    for cause, change in volume_advice.of_node(info, cluster, row):
        yield Remedy(cause, change, _VOLUME)


def volume_zones(info: PodInfo, cluster: Cluster, row: int) -> Iterator[Remedy]:
    for cause, change in volume_advice.of_zone(info, cluster, row):
        yield Remedy(cause, change, _VOLUME)


def volume_limits(info: PodInfo, cluster: Cluster, row: int) -> Iterator[Remedy]:
    for cause, change in volume_advice.of_limits(info, cluster, row):
        yield Remedy(cause, change, _VOLUME)


def volume_users(info: PodInfo, cluster: Cluster, row: int) -> Iterator[Remedy]:
    found = volume_advice.holders(info, cluster)
    if found:
        yield _evicting(found, "may not share a claim of access mode ReadWriteOncePod")


FINDERS: Mapping[str, Finder] = {
    "NodeResourcesFit": resources, "NodeUnschedulable": cordoned, "TaintToleration": taints,
    "NodeAffinity": node_labels, "NodePorts": ports, "PodTopologySpread": spreading, "InterPodAffinity": neighbours,
    "DynamicResources": devices, "VolumeBinding": volumes, "VolumeZone": volume_zones,
    "NodeVolumeLimits": volume_limits, "VolumeRestrictions": volume_users,
}  # fmt: skip

# What would have to be there for a pod that a plugin refuses whatever the node; "" where nobody knows.
ADVISERS: Mapping[str, Callable[[PodInfo, Cluster], str]] = {
    "DynamicResources": advice.of_refusal, "VolumeBinding": volume_advice.of_refusal,
}  # fmt: skip
