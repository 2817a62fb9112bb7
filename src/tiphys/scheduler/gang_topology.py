"""Gangs that belong into one topology domain: which domains there are to try, and plugins that keep to one of them.

Source: https://github.com/kubernetes/enhancements/tree/master/keps/sig-scheduling/5732-topology-aware-workload-scheduling
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tiphys.scheduler.cluster import Cluster, Mask
from tiphys.scheduler.gang import Gang
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.pod import CPU, PodInfo
from tiphys.scheduler.profile import Profile

# Trying a domain is trying all pods of the gang; those with most room come first.
_TRIED = 32


@dataclass(frozen=True, slots=True)
class Domain:
    """`name` is "key=value"; `rows` are its nodes."""

    name: str
    rows: Mask

    def suffices(self, gang: Gang, cluster: Cluster) -> bool:
        """Whether there is enough of everything in all, of however many pieces, for as many as have to fit."""
        for name in {name for info in gang.pending.values() for name in info.requests}:
            wanted = sum(sorted(info.requests.get(name, 0) for info in gang.pending.values())[: gang.goal])
            column = cluster.columns.get(name)
            if not wanted:
                continue
            if column is None:
                return False
            free = cluster.allocatable[self.rows, column] - cluster.requested[self.rows, column]
            if np.clip(free, 0, None).sum() < wanted:
                return False
        return True


class Within(Plugin):
    """Refuses all nodes but those of a domain."""

    name = "GangTopology"
    scores = False

    def __init__(self, domain: Domain) -> None:
        self._domain = domain

    def filter(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        return self._domain.rows

    def reasons(self, info: PodInfo, cluster: Cluster, refused: Mask) -> Iterator[tuple[str, int]]:
        yield f"node(s) were not of {self._domain.name}", int(refused.sum())


def domains(gang: Gang, cluster: Cluster, promised: Mapping[str, int]) -> list[Domain]:
    """Those that the whole gang may go to: the one where its placed pods are, or all, with most free CPU first.

    A domain of which room is promised to its pods comes before the others.
    """
    key = gang.topology
    ids = cluster.domains(key).ids
    rows = [row for each in gang.placed if (row := cluster.placed_row(each)) is not None]
    here = {int(ids[row]) for row in rows}
    found = here or {int(number) for number in np.unique(ids)}
    free = cluster.allocatable[:, cluster.columns[CPU]] - cluster.requested[:, cluster.columns[CPU]]
    hoped = {int(ids[row]) for row in promised.values()}
    order = sorted(found - {0}, key=lambda number: (number not in hoped, -int(free[ids == number].sum()), number))
    return [_domain(key, ids == number, cluster) for number in order[:_TRIED]]


def _domain(key: str, rows: Mask, cluster: Cluster) -> Domain:
    entry = cluster.rows[int(np.argmax(rows))]
    assert entry is not None, "a domain has a node"
    return Domain(f"{key}={entry.node.metadata.labels[key]}", rows)


def within(domain: Domain, profiles: Mapping[str, Profile]) -> Mapping[str, Profile]:
    """The profiles, with plugins that keep to the domain."""
    plugin = Within(domain)
    return {name: replace(each, plugins=(plugin, *each.plugins)) for name, each in profiles.items()}
