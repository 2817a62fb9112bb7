"""What a scheduler plugin is: functions over all nodes at once.

One file, one class, one line in `pipeline.DEFAULT`. Users' own come by the entry point `tiphys.scheduler`.
Source: https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from tiphys.client.client import Client
from tiphys.kinds.core.node import Node
from tiphys.scheduler.cluster import Cluster, Mask, Scores
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.view import View

# What may have happened in the cluster, as plugins name it in `retry_on`.
NODE_ADDED, NODE_CHANGED, POD_REMOVED, POD_CHANGED = "node added", "node changed", "pod removed", "pod changed"
POD_PLACED, NAMESPACE_CHANGED = "pod placed", "namespace changed"
NODE_REMOVED = "node removed"
# The node, the pod or the object of a view's kind to which it happened.
Subject = Node | PodInfo | Struct | None


class Plugin:
    """`name` is upstream's. `weight` multiplies the scores. `retry_on` names what may make a refused pod fit.

    A profile may switch off that an instance `filters` or `scores`. Only whole points count: `whole` tells that its
    scores have none but these. `views` are what it asks `cluster.view` for.
    """

    name = ""
    weight = 1.0
    filters = scores = True
    whole = False
    retry_on: frozenset[str] = frozenset({NODE_ADDED, NODE_CHANGED})
    views: tuple[type[View], ...] = ()

    def pre_enqueue(self, info: PodInfo, cluster: Cluster) -> bool:
        """Whether the pod may be tried. If not it waits for an event of `retry_on`, and nobody is told of it."""
        return True

    def refuse(self, info: PodInfo, cluster: Cluster) -> str | None:
        """Why the pod goes nowhere for now, whatever the nodes (upstream's PreFilter); None if that is not so."""
        return None

    def filter(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        """True for each row where the pod may go; None if the plugin has nothing against any."""
        return None

    def helps(self, info: PodInfo, event: str, subject: Any) -> bool:
        """Whether an event of `retry_on` may make a pod fit that was refused (upstream's queueing hint).

        `subject` is the node or pod to which it happened; for events of a view, the object that changed.
        """
        return True

    async def post_filter(self, info: PodInfo, cluster: Cluster, client: Client) -> None:
        """The plugin refused the pod: write what may help it. Raises ApiError and Unreachable, which do no harm."""

    def lasting(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        """As `filter`, but False only where it would refuse even if all other pods of the node went."""
        return self.filter(info, cluster)

    def reasons(self, info: PodInfo, cluster: Cluster, refused: Mask) -> Iterator[tuple[str, int]]:
        """Why the `refused` rows do not do, as (upstream's words, number of nodes)."""
        yield f"node(s) refused by {self.name}", int(refused.sum())

    def score_among(self, info: PodInfo, cluster: Cluster, left: Mask) -> Scores | None:
        """As `score`, for plugins to which it matters which rows are `left` for the pod."""
        return self.score(info, cluster)

    def score(self, info: PodInfo, cluster: Cluster) -> Scores | None:
        """0 to 100 for each row, more is better; None if all are the same to the plugin."""
        return None

    def reserve(self, info: PodInfo, node: str, cluster: Cluster) -> None:
        """The pod goes to the node: hold for it what it takes there that `info.requests` does not say."""

    def unreserve(self, info: PodInfo, node: str, cluster: Cluster) -> None:
        """It does not, after all: give back what `reserve` held."""

    def pre_flight(self, info: PodInfo, node: str, cluster: Cluster) -> bool:
        """Whether `pre_bind` has anything to do for the pod (upstream's PreBindPreFlight)."""
        return True

    async def pre_bind(self, info: PodInfo, node: str, cluster: Cluster, client: Client) -> None:
        """Write what has to be there before the pod is bound, and wait for it: that holds up no other pod.

        Raises ApiError and Unreachable: the pod is then not bound.
        """
