"""From a pod to a node: every filter over all nodes, then every score over those that are left.

The order of the plugins is the tuple below and nothing else: the first that refuses a node is the one that is named.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tiphys.scheduler.cluster import Cluster, Mask, Scores
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.plugins.dynamic_resources import DynamicResources
from tiphys.scheduler.plugins.image_locality import ImageLocality
from tiphys.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from tiphys.scheduler.plugins.node_affinity import NodeAffinity
from tiphys.scheduler.plugins.node_name import NodeName
from tiphys.scheduler.plugins.node_ports import NodePorts
from tiphys.scheduler.plugins.node_resources_balanced_allocation import NodeResourcesBalancedAllocation
from tiphys.scheduler.plugins.node_resources_fit import NodeResourcesFit
from tiphys.scheduler.plugins.node_unschedulable import NodeUnschedulable
from tiphys.scheduler.plugins.node_volume_limits import NodeVolumeLimits
from tiphys.scheduler.plugins.pod_topology_spread import PodTopologySpread
from tiphys.scheduler.plugins.taint_toleration import TaintToleration
from tiphys.scheduler.plugins.volume_binding import VolumeBinding
from tiphys.scheduler.plugins.volume_restrictions import VolumeRestrictions
from tiphys.scheduler.plugins.volume_zone import VolumeZone
from tiphys.scheduler.pod import PodInfo

DEFAULT: tuple[Plugin, ...] = (
    NodeUnschedulable(),
    NodeName(),
    TaintToleration(),
    NodeAffinity(),
    NodePorts(),
    NodeResourcesFit(),
    VolumeRestrictions(),
    NodeVolumeLimits(),
    VolumeBinding(),
    VolumeZone(),
    PodTopologySpread(),
    InterPodAffinity(),
    DynamicResources(),
    NodeResourcesBalancedAllocation(),
    ImageLocality(),
)


@dataclass(frozen=True, slots=True)
class Unschedulable:
    """No node does. `reasons` counts nodes by upstream's words; `plugins` are those that refused any.

    `refusal` is why no node was looked at.
    """

    nodes: int
    reasons: Mapping[str, int]
    plugins: frozenset[str] = field(default_factory=frozenset)
    refusal: str = ""

    def __str__(self) -> str:
        if not self.nodes:
            return "no nodes available to schedule pods"
        if self.refusal:
            return f"0/{self.nodes} nodes are available: {self.refusal}."
        # Sorted as text, numbers and all: tools and people compare these sentences.
        parts = sorted(f"{count} {reason}" for reason, count in self.reasons.items())
        return f"0/{self.nodes} nodes are available: {', '.join(parts)}."


def choose(
    info: PodInfo, cluster: Cluster, plugins: Sequence[Plugin] = DEFAULT, promised: int | None = None
) -> int | Unschedulable:
    """The row of the best node, or why there is none. Among equals a random one wins, but `promised` before all."""
    for plugin in plugins:
        if plugin.filters and (refusal := plugin.refuse(info, cluster)) is not None:
            return Unschedulable(len(cluster), {}, frozenset({plugin.name}), refusal)
    left, count = cluster.live, len(cluster)
    refusals: list[tuple[Plugin, Mask]] = []
    for plugin in plugins:
        mask = plugin.filter(info, cluster) if plugin.filters else None
        if mask is None:
            continue
        passed = left & mask
        number = int(np.count_nonzero(passed))
        if number != count:
            refusals.append((plugin, left & ~mask))
            left, count = passed, number
    if not count:
        return _explain(info, cluster, refusals)
    if promised is not None and left[promised]:
        return promised
    return _best(info, cluster, plugins, left)


def _best(info: PodInfo, cluster: Cluster, plugins: Sequence[Plugin], left: Mask) -> int:
    total = totals(info, cluster, plugins, left)
    best = np.flatnonzero(left if total is None else total == total.max())
    # Not always the first, or every scheduler fills the same node; nothing secret hangs on it.
    return int(best[random.randrange(len(best))])  # noqa: S311


def totals(info: PodInfo, cluster: Cluster, plugins: Sequence[Plugin], left: Mask) -> Scores | None:
    """The weighted sums of the scores of the rows that are left, -inf for the others; None if nobody scores."""
    total: Scores | None = None
    for plugin in plugins:
        scores = plugin.score_among(info, cluster, left) if plugin.scores else None
        if scores is not None:
            marks = scores if plugin.whole else np.floor(scores)
            marks = marks if plugin.weight == 1.0 else marks * plugin.weight
            total = marks if total is None else total + marks
    return None if total is None else np.where(left, total, -np.inf)


def _explain(info: PodInfo, cluster: Cluster, refusals: Sequence[tuple[Plugin, Mask]]) -> Unschedulable:
    reasons: Counter[str] = Counter()
    for plugin, refused in refusals:
        for text, count in plugin.reasons(info, cluster, refused):
            reasons[text] += count
    return Unschedulable(len(cluster), reasons, frozenset(plugin.name for plugin, _ in refusals))
