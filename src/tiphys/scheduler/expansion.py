"""How many nodes of which groups would give waiting pods a place: a pure plan on the scheduler's model.

Pods are tried on the nodes that are there first, those that are just being made among them: who fits there only waits
for its turn. For the others nodes of each group are thought up, one after the other; of the groups where a pod fits,
the one that it fills most is taken (upstream's expander "least-waste").
Source: https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace

from tiphys.kinds.core.node import Node
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.pipeline import Unschedulable, choose
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.pod import CPU, MEMORY, PodInfo
from tiphys.scheduler.rebalance import feasible

_HOSTNAME = "kubernetes.io/hostname"


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes that are all alike: `template` is what a new one would be, `room` how many more there may be."""

    name: str
    template: Node
    room: int


@dataclass(slots=True)
class Expansion:
    """`grow` says by how many nodes, `helped` which pods each group is for, `helpless` why others are not helped."""

    grow: Counter[str] = field(default_factory=Counter)
    helped: dict[str, str] = field(default_factory=dict)
    helpless: dict[str, str] = field(default_factory=dict)


def expand(
    cluster: Cluster,
    plugins: Callable[[PodInfo], Sequence[Plugin]],
    pods: Iterable[PodInfo],
    groups: Sequence[Group],
) -> Expansion:
    """The new nodes and what comes to them are on the model afterwards."""
    plan = Expansion()
    for info in sorted(pods, key=_largest_first):
        found = choose(info, cluster, plugins(info))
        if not isinstance(found, Unschedulable):
            node = cluster.name(found)
            cluster.place(info, node)
            if (group := _group_of(node, plan.grow)) is not None:
                plan.helped[info.key] = group
            continue
        name = _new_node(info, cluster, plugins(info), groups, plan)
        if name is None:
            plan.helpless[info.key] = _why(groups, plan.grow)
        else:
            plan.helped[info.key] = name
    return plan


def _largest_first(info: PodInfo) -> tuple[int, int, int, str]:
    cpu, memory = info.scored
    return -info.pod.spec.priority, -cpu, -memory, info.key


def _new_node(
    info: PodInfo, cluster: Cluster, plugins: Sequence[Plugin], groups: Sequence[Group], plan: Expansion
) -> str | None:
    """Put the pod on a new node of the group that suits it best; that group's name."""
    best: tuple[float, str] | None = None
    for group in groups:
        if plan.grow[group.name] >= group.room:
            continue
        name = _name(group.name, plan.grow[group.name] + 1)
        cluster.set_node(_named(group.template, name))
        row = cluster.row(name)
        if row is not None and feasible(info, cluster, plugins)[row]:
            waste = _waste(info, cluster, row)
            best = min(best, (waste, group.name)) if best is not None else (waste, group.name)
        cluster.remove_node(name)
    if best is None:
        return None
    group = next(each for each in groups if each.name == best[1])
    plan.grow[group.name] += 1
    name = _name(group.name, plan.grow[group.name])
    cluster.set_node(_named(group.template, name))
    cluster.place(info, name)
    return group.name


def _waste(info: PodInfo, cluster: Cluster, row: int) -> float:
    """How much of a node would be left, as a part of it."""
    room = cluster.allocatable[row, [cluster.columns[CPU], cluster.columns[MEMORY]]]
    taken = np.asarray([info.requests.get(CPU, 0), info.requests.get(MEMORY, 0)])
    return float(1.0 - np.mean(taken / np.maximum(room, 1)))


def _name(group: str, number: int) -> str:
    # No node is called so: a name has no slash.
    return f"{group}/{number}"


def _group_of(node: str, grow: Mapping[str, int]) -> str | None:
    group, slash, _ = node.rpartition("/")
    return group if slash and group in grow else None


def _named(template: Node, name: str) -> Node:
    labels = {**template.metadata.labels, _HOSTNAME: name}
    return replace(template, metadata=replace(template.metadata, name=name, labels=labels))


def _why(groups: Sequence[Group], grow: Mapping[str, int]) -> str:
    """Upstream's words."""
    full = sum(1 for group in groups if grow.get(group.name, 0) >= group.room)
    parts = [f"{full} max node group size reached"] if full else []
    if len(groups) > full:
        parts.append(f"{len(groups) - full} would not fit the pod")
    return ", ".join(parts) or "there is no node group"
