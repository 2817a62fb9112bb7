"""NodeResourcesFit: enough of every requested resource; by default the emptier node scores higher (LeastAllocated).

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/resource-bin-packing/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiphys.kinds.core.node import Node
from tiphys.kinds.resource.deviceclass import DeviceClass
from tiphys.scheduler.cluster import Cluster, Mask, Rows, Scores
from tiphys.scheduler.devices.extended import names_of
from tiphys.scheduler.devices.view import CLASS_CHANGED, Devices
from tiphys.scheduler.plugin import NODE_ADDED, NODE_CHANGED, POD_CHANGED, POD_REMOVED, Plugin
from tiphys.scheduler.pod import CPU, MEMORY, PODS, PodInfo, amount

_ALL = slice(None)
_LEAST, _MOST, _RATIO = "LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"


@dataclass(frozen=True, slots=True)
class Strategy:
    """How what would be used of a node, 0 to 1, becomes a score.

    `shape` has points (percent used, score of 0 to 100); between them lines are drawn.
    """

    shape: tuple[tuple[float, float], ...] = ((0, 100), (100, 0))
    resources: tuple[tuple[str, int], ...] = ((CPU, 1), (MEMORY, 1))
    # What is overfull scores nothing, except by a shape of the user's own.
    full: float = 0.0


def strategy(settings: Mapping[str, Any]) -> Strategy:
    """Of a `scoringStrategy`. Raises ValueError."""
    kind = settings.get("type") or _LEAST
    listed = settings.get("resources") or ({"name": CPU}, {"name": MEMORY})
    resources = tuple((str(each["name"]), int(each.get("weight") or 1)) for each in listed)
    if kind == _LEAST:
        return Strategy(resources=resources)
    if kind == _MOST:
        return Strategy(((0, 0), (100, 100)), resources)
    if kind != _RATIO:
        raise ValueError(f'scoringStrategy.type: "{kind}" is not one of {_LEAST}, {_MOST}, {_RATIO}')
    points = (settings.get("requestedToCapacityRatio") or {}).get("shape") or ()
    shape = tuple((float(each["utilization"]), float(each["score"]) * 10) for each in points)
    if not shape or list(shape) != sorted(shape) or not all(0 <= score <= 100 for _, score in shape):
        raise ValueError("requestedToCapacityRatio.shape: needs points of rising utilization, with scores of 0 to 10")
    return Strategy(shape, resources, shape[-1][1])


class NodeResourcesFit(Plugin):
    name = "NodeResourcesFit"
    whole = True
    retry_on = frozenset({NODE_ADDED, NODE_CHANGED, POD_REMOVED, POD_CHANGED, CLASS_CHANGED})

    def __init__(self, strategy: Strategy | None = None, ignored: frozenset[str] = frozenset()) -> None:
        """`ignored` are resources that are not counted, and with a slash at the end groups of them."""
        self._strategy, self._ignored = strategy, ignored
        # Resources that DeviceClasses stood for when the last pod was tried.
        self._backed: frozenset[str] = frozenset()

    def _wanted(self, info: PodInfo) -> Iterator[tuple[str, int]]:
        for name, value in info.requests.items():
            if value and name not in self._ignored and f"{name.partition('/')[0]}/" not in self._ignored:
                yield name, value

    def filter(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        self._backed = cluster.view(Devices).names
        key = (self.name, self._ignored, info.shape, info.pod.spec.priority, self._backed)
        return cluster.by_row(key, lambda rows: self._fits(info, cluster, rows))

    def _fits(self, info: PodInfo, cluster: Cluster, rows: Rows) -> Mask:
        fits: Mask = np.ones(len(cluster.live[rows]), np.bool_)
        for name, _ in self._wanted(info):
            fits &= ~_short(cluster, info, name, rows)
        return fits

    def helps(self, info: PodInfo, event: str, subject: Node | PodInfo | DeviceClass) -> bool:
        if isinstance(subject, DeviceClass):
            return any(info.requests.get(name) for name in names_of(subject))
        if not isinstance(subject, Node):
            return True
        room = subject.status.allocatable
        return all(
            amount(name, room.get(name, "0")) >= value or (name in self._backed and name not in room)
            for name, value in self._wanted(info)
        )

    def lasting(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        fits: Mask = np.ones(len(cluster.rows), np.bool_)
        for name, value in self._wanted(info):
            column = cluster.columns.get(name)
            enough = cluster.allocatable[:, column] >= value if column is not None else np.zeros(len(fits), np.bool_)
            fits &= enough | _delegated(cluster, name)
        return fits

    def reasons(self, info: PodInfo, cluster: Cluster, refused: Mask) -> Iterator[tuple[str, int]]:
        for name, _ in self._wanted(info):
            short = refused & _short(cluster, info, name)
            if short.any():
                yield ("Too many pods" if name == PODS else f"Insufficient {name}"), int(short.sum())

    def score(self, info: PodInfo, cluster: Cluster) -> Scores | None:
        strategy = self._strategy
        if strategy is not None:
            return cluster.by_row((strategy, info.shape), lambda rows: _shaped(strategy, info, cluster, rows))
        return cluster.by_row((_LEAST, info.scored), lambda rows: _free(info, cluster, rows))


def _free(info: PodInfo, cluster: Cluster, rows: Rows) -> Scores:
    # Column by column: twice as fast as both at once, for sums along short rows are slow.
    free: Scores = np.zeros(len(cluster.live[rows]))
    for column, wanted in enumerate(info.scored):
        used = (cluster.scored[rows, column] + wanted) / np.maximum(cluster.allocatable[rows, column], 1)
        free += np.maximum(1.0 - used, 0.0)
    return np.floor(free * 50.0)


def _shaped(strategy: Strategy, info: PodInfo, cluster: Cluster, rows: Rows) -> Scores:
    """The mean over the resources that a node has, by their weights."""
    total: Scores = np.zeros(len(cluster.live[rows]))
    weights: Scores = np.zeros(len(total))
    across, up = zip(*strategy.shape, strict=True)
    for name, weight in strategy.resources:
        column = cluster.columns.get(name)
        if column is None or (name not in (CPU, MEMORY) and not info.requests.get(name)):
            continue
        taken = cluster.scored[rows, column] if name in (CPU, MEMORY) else cluster.requested[rows, column]
        wanted = info.scored[column] if name in (CPU, MEMORY) else info.requests[name]
        room = cluster.allocatable[rows, column]
        percent = (taken + wanted) * 100.0 / np.maximum(room, 1)
        scores = np.where(percent > 100, strategy.full, np.interp(percent, across, up))
        total += np.where(room > 0, scores * weight, 0.0)
        weights += np.where(room > 0, weight, 0)
    return np.floor(total / np.maximum(weights, 1))


def _short(cluster: Cluster, info: PodInfo, name: str, rows: Rows = _ALL) -> Mask:
    """The nodes that have less left than the pod requests; all of them where none has the resource."""
    left = cluster.available(name, info.pod.spec.priority, rows)
    if left is None:
        return ~_delegated(cluster, name, rows)
    short: Mask = left < info.requests[name]
    return short & ~_delegated(cluster, name, rows) if name in cluster.view(Devices).backed else short


def _delegated(cluster: Cluster, name: str, rows: Rows = _ALL) -> Mask:
    """The nodes that have none of the resource, so that devices stand for it, with which DynamicResources deals."""
    column = cluster.columns.get(name)
    backed = name in cluster.view(Devices).backed
    if not backed or column is None:
        return np.full(len(cluster.live[rows]), backed)
    none: Mask = cluster.allocatable[rows, column] == 0
    return none
