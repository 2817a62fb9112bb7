"""How fast nodes that are not ready may be emptied: zone by zone, slower the more is lost, not at all if all is.

When most of a zone falls silent, it is more likely that its network is at fault, or ours, than every node in it.
Source: https://kubernetes.io/docs/concepts/architecture/nodes/#rate-limits-on-eviction
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tiphys.kinds.core.node import Node

ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
_UNHEALTHY, _LARGE = 0.55, 50


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two nodes of a zone: as a rule, and in a large zone that is mostly lost."""

    normal: float = 1.0
    slow: float = 100.0


def zone_of(node: Node) -> str:
    labels = node.metadata.labels
    return f"{labels.get(REGION, '')}/{labels.get(ZONE, '')}"


def intervals(nodes: Iterable[Node], pace: Pace) -> dict[str, float | None] | None:
    """By zone, the seconds between evictions (None: none now); None for the whole if no node anywhere is ready."""
    total: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for node in nodes:
        zone = zone_of(node)
        total[zone] += 1
        lost[zone] += not node.ready
    if total and all(lost[zone] == count for zone, count in total.items()):
        return None
    found: dict[str, float | None] = {}
    for zone, count in total.items():
        mostly = lost[zone] > 2 and lost[zone] / count >= _UNHEALTHY
        # A zone lost as a whole, while others live, is emptied at the usual pace: its pods are needed elsewhere.
        if not mostly or lost[zone] == count:
            found[zone] = pace.normal
        else:
            found[zone] = pace.slow if count > _LARGE else None
    return found


class Limiter:
    """One node at a time in each zone."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    def wait(self, zone: str, interval: float, now: float) -> float:
        """0 if a node of the zone may be emptied now, which is thereby taken; or the seconds to wait."""
        left = self._next.get(zone, 0.0) - now
        if left > 0:
            return left
        self._next[zone] = now + interval
        return 0.0
