"""Where claims of one shape can be satisfied: worked out once for nodes that see the same, and again after changes.

A shape is what a pod's unallocated claims ask for; pods of one Deployment have one. Nodes that see the same parts of
pools are one group, and so are all that see nothing of use. When a device is given or freed, only the groups that see
its pool are looked at again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from tiphys.kinds.core.node_selector import term_matches
from tiphys.scheduler.cluster import Cluster, Ids, Mask, Scores
from tiphys.scheduler.devices.allocator import Grant, Refused, allocate
from tiphys.scheduler.devices.effort import Effort
from tiphys.scheduler.devices.inventory import ANYWHERE, Inventory, Part, Pool
from tiphys.scheduler.devices.usage import Usage
from tiphys.scheduler.devices.wanted import Wanted

_MOST_ALTERNATIVES = 8


class Shape:
    def __init__(self, claims: Sequence[Wanted]) -> None:
        self._claims = claims
        self._asks = [ask for claim in claims for asks in claim.requests for ask in asks]
        self._known = (-1, -1, -1)
        # The group of each row; group 0 sees nothing of use.
        self._group_of: Ids = np.zeros(0, np.intp)
        self._groups: list[tuple[Part, ...]] = [()]
        self._does: Mask = np.zeros(1, np.bool_)
        # By group, how good the alternatives are that it gives; None where there is nothing to choose.
        chooses = any(len(asks) > 1 for claim in claims for asks in claim.requests)
        self._ranks: Scores | None = np.zeros(1) if chooses else None
        self._why: dict[int, str] = {}
        self._seen_by: dict[Pool, list[int]] = {}
        self._stale: set[int] = set()
        self._useful: dict[Part, bool] = {}
        # Since the devices last changed; the steps, since the last look.
        self._effort = Effort()

    def changed(self, pool: Pool) -> None:
        """A device of the pool was given or freed."""
        self._stale.update(self._seen_by.get(pool, ()))

    def mask(self, cluster: Cluster, inventory: Inventory, used: Usage) -> Mask:
        """True for the rows where all claims can be satisfied."""
        self._regroup(cluster, inventory)
        self._effort.steps = 0
        left: set[int] = set()
        for group in self._stale:
            if self._effort.exhausted:
                left.add(group)
                self._why[group] = "the claims are too hard to satisfy to be tried on all nodes at once"
            self._does[group] = not self._effort.exhausted and self._satisfy(group, used)
        # The next attempt begins with those.
        self._stale = left
        found: Mask = self._does[self._group_of]
        return found

    def ranks(self) -> Scores | None:
        """By row, of which `mask` has told just now: more where more of the first alternatives are given."""
        return self._ranks[self._group_of] if self._ranks is not None else None

    def reasons(self, refused: Mask) -> Counter[str]:
        """Why the rows do not do, of which `mask` has told that just now."""
        groups, counts = np.unique(self._group_of[refused], return_counts=True)
        reasons: Counter[str] = Counter()
        for group, count in zip(groups.tolist(), counts.tolist(), strict=True):
            reasons[self._why.get(group, "cannot allocate all claims")] += count
        return reasons

    def grants(self, row: int, used: Usage) -> list[list[Grant]] | None:
        """The devices of each claim on the row; None if there are not enough."""
        try:
            return allocate(self._claims, self._groups[int(self._group_of[row])], used, self._effort)
        except Refused:
            return None

    def _satisfy(self, group: int, used: Usage) -> bool:
        self._why.pop(group, None)
        try:
            found = allocate(self._claims, self._groups[group], used, self._effort)
        except Refused as refused:
            self._why[group] = str(refused)
            return False
        if self._ranks is not None:
            self._ranks[group] = self._rank(found) if found is not None else 0.0
        return found is not None

    def _rank(self, found: Sequence[Sequence[Grant]]) -> float:
        given = {grant.ask for grants in found for grant in grants}
        ranked = [
            _MOST_ALTERNATIVES - place
            for claim in self._claims for asks in claim.requests if len(asks) > 1
            for place, ask in enumerate(asks) if ask in given
        ]  # fmt: skip
        return float(sum(ranked))

    def _regroup(self, cluster: Cluster, inventory: Inventory) -> None:
        """Take over which nodes there are and what they see."""
        now = (cluster.generation, len(cluster.rows), inventory.generation)
        if self._known == now:
            return
        self._known = now
        known, self._useful, self._effort = self._useful, {}, Effort()
        shared = [
            (part, None if part.place == ANYWHERE else _reached(part, cluster))
            for part in inventory.elsewhere() if self._use(part, known)
        ]  # fmt: skip
        numbers: dict[tuple[Part, ...], int] = {}
        self._group_of = np.zeros(len(cluster.rows), np.intp)
        for row, node in cluster.nodes():
            parts = [part for part in inventory.local(node.metadata.name) if self._use(part, known)]
            parts += [part for part, reached in shared if reached is None or reached[row]]
            parts.sort(key=lambda part: part.pool.id)
            self._group_of[row] = numbers.setdefault(tuple(parts), len(numbers))
        self._groups = list(numbers) or [()]
        self._does = np.zeros(len(self._groups), np.bool_)
        if self._ranks is not None:
            self._ranks = np.zeros(len(self._groups))
        self._stale = set(range(len(self._groups)))
        self._seen_by = {}
        for number, parts_ in enumerate(self._groups):
            for part in parts_:
                self._seen_by.setdefault(part.pool, []).append(number)

    def _use(self, part: Part, known: Mapping[Part, bool]) -> bool:
        """Whether it matters to the claims that a node sees it: errors of selectors are worth telling."""
        if part not in self._useful:
            use = known.get(part)
            self._useful[part] = self._matters(part) if use is None else use
        return self._useful[part]

    def _matters(self, part: Part) -> bool:
        return any(
            (ask.all and part.pool.wrong) or any(ask.selects(each, self._effort) is not False for each in part.devices)
            for ask in self._asks
        )


def _reached(part: Part, cluster: Cluster) -> Mask:
    selector = part.place.selector
    terms = selector.node_selector_terms if selector is not None else []
    return cluster.where(("devices", part.place.key), lambda node: any(term_matches(term, node) for term in terms))
