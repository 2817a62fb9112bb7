"""The cluster as numpy arrays: one row per node, updated as nodes and pods change, never rebuilt.

`allocatable` and `requested` are int64 matrices, nodes by resources (columns are made as resource names appear);
`scored` is what scoring counts (CPU milli-cores, memory bytes). Rows of removed nodes are reused; `live` tells which
count. What plugins derive from node labels or taints they cache by `generation`, which moves when any node's do.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from tiphys.kinds.core.node import Node
from tiphys.scheduler.images import Images
from tiphys.scheduler.pod import CPU, EPHEMERAL, MEMORY, PODS, PodInfo, amount
from tiphys.scheduler.population import Population
from tiphys.scheduler.tiers import Tiers
from tiphys.scheduler.view import View

Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.intp]
Scores = npt.NDArray[np.float64]
Rows = slice | list[int]
_ALL = slice(None)
_FIRST_COLUMNS = (CPU, MEMORY, EPHEMERAL, PODS)
_GROWTH = 64
# How many results are kept row by row, and how many changes of rows are remembered for their sake.
_KEPT, _TOUCHED = 256, 8192
V = TypeVar("V", bound=View)


@dataclass(slots=True)
class Placed:
    """A pod that counts on a node, bound or assumed."""

    info: PodInfo
    row: int


@dataclass(frozen=True, slots=True)
class Domains:
    """The values of one node label: `ids` numbers them row by row from 1, 0 is a node without; `size` counts the 0.

    `numbers` has the number of each value.
    """

    ids: Ids
    size: int
    numbers: Mapping[str, int] = field(default_factory=dict)

    def having(self, values: Iterable[str]) -> Mask:
        """The nodes with one of these values."""
        known = np.zeros(self.size, np.bool_)
        known[[self.numbers[value] for value in values if value in self.numbers]] = True
        mask: Mask = known[self.ids]
        return mask

    def sums(self, weights: npt.NDArray[Any]) -> Scores:
        """By id, the sum of what each row has."""
        return np.bincount(self.ids, weights=weights, minlength=self.size).astype(np.float64, copy=False)


@dataclass(slots=True)
class _Kept:
    """What is known row by row, and how many changes of rows it knows of."""

    values: npt.NDArray[Any]
    at: int


@dataclass(slots=True)
class Row:
    """What is known of the node in a row besides numbers."""

    node: Node
    pods: dict[str, PodInfo] = field(default_factory=dict)


class Cluster:
    def __init__(self) -> None:
        self.columns: dict[str, int] = {name: index for index, name in enumerate(_FIRST_COLUMNS)}
        self.allocatable = np.zeros((0, len(_FIRST_COLUMNS)), np.int64)
        self.requested = np.zeros((0, len(_FIRST_COLUMNS)), np.int64)
        self.scored = np.zeros((0, 2), np.int64)
        self.live: Mask = np.zeros(0, np.bool_)
        self.rows: list[Row | None] = []
        # Who has host ports: by protocol and number, then by address, how many pods of each row.
        self.ports: dict[tuple[str, int], dict[str, dict[int, int]]] = {}
        self.population, self.images = Population(), Images()
        # What placed pods take by priority, and what pods will take for which room is being made.
        self.tiers, self.promised = Tiers(), Tiers()
        self.nominated: dict[str, Placed] = {}
        # The same by row.
        self._expected: dict[int, set[str]] = {}
        # Moves whenever what a row has changes.
        self.versions = np.zeros(0, np.int64)
        self.generation = 0
        # Moves whenever what there is in all changes.
        self.capacity = 0
        self._row_of: dict[str, int] = {}
        self._free: list[int] = []
        self._placed: dict[str, Placed] = {}
        self._cached: dict[object, tuple[int, Mask]] = {}
        self._domains: dict[str, tuple[int, Domains]] = {}
        self._views: dict[type[View], View] = {}
        # The rows that changed, latest last, and how many there were before the first of them.
        self._touched: list[int] = []
        self._touched_before = 0
        self._by_row: OrderedDict[Hashable, _Kept] = OrderedDict()

    def view(self, kind: type[V]) -> V:
        """The one view of that kind; made when first asked for, so ask before there are pods."""
        if kind not in self._views:
            self._views[kind] = kind()
        return cast(V, self._views[kind])

    def __len__(self) -> int:
        return len(self._row_of)

    def nodes(self) -> Iterator[tuple[int, Node]]:
        for row, entry in enumerate(self.rows):
            if entry is not None:
                yield row, entry.node

    def name(self, row: int) -> str:
        entry = self.rows[row]
        assert entry is not None, "a chosen row has a node"
        return entry.node.metadata.name

    def row(self, name: str) -> int | None:
        return self._row_of.get(name)

    def set_node(self, node: Node) -> None:
        """Add a node or take over its new state."""
        row = self._row_of.get(node.metadata.name)
        if row is None:
            row = self._take_row()
            self._row_of[node.metadata.name] = row
            self.rows[row] = Row(node)
            self.live[row] = True
            self.generation += 1
        else:
            entry = self.rows[row]
            assert entry is not None, "a named row has a node"
            old, entry.node = entry.node, node
            if old.metadata.labels != node.metadata.labels or old.spec != node.spec:
                self.generation += 1
        self._touch(row)
        self.images.set_row(row, node.status.images)
        amounts = {name: amount(name, text) for name, text in node.status.allocatable.items()}
        columns = [self._column(name) for name in amounts]
        room = np.zeros(len(self.columns), np.int64)
        room[columns] = list(amounts.values())
        if (room != self.allocatable[row]).any():
            self.allocatable[row] = room
            self.capacity += 1

    def remove_node(self, name: str) -> list[PodInfo]:
        """Forget a node; the pods that counted on it, which its return would make count again."""
        row = self._row_of.pop(name, None)
        if row is None:
            return []
        self.live[row] = False
        self.capacity += 1
        for matrix in (self.allocatable, self.requested, self.scored):
            matrix[row] = 0
        entry = self.rows[row]
        assert entry is not None, "a named row has a node"
        for info in entry.pods.values():
            self._placed.pop(info.key, None)
            self._count_ports(info, row, -1)
            self.population.count(info, row, -1)
            self._count_tiers(self.tiers, info, row, -1)
            for view in self._views.values():
                view.count(info, row, -1)
        for key in self.expected(row):
            self.withdraw(key)
        self._touch(row)
        self.images.set_row(row, ())
        self.rows[row] = None
        self._free.append(row)
        self.generation += 1
        return list(entry.pods.values())

    def place(self, info: PodInfo, node: str) -> bool:
        """Count a pod on a node; a pod counted elsewhere moves. False if there is no such node (yet)."""
        known = self._placed.get(info.key)
        row = self._row_of.get(node)
        if known is not None:
            if known.row == row and known.info.pod.metadata.uid == info.pod.metadata.uid:
                entry = self.rows[known.row]
                if entry is not None:
                    entry.pods[info.key] = info
                if _counts_alike(known.info, info):
                    known.info = info
                    return True
            self.remove_pod(info.key)
        if row is None:
            return False
        entry = self.rows[row]
        assert entry is not None, "a named row has a node"
        self._placed[info.key] = Placed(info, row)
        entry.pods[info.key] = info
        self._count(info, row, 1)
        return True

    def renew(self, info: PodInfo) -> None:
        """Take over a newer form of a pod that counts as before: two forms of each pod would be held else."""
        known = self._placed.get(info.key)
        if known is not None:
            known.info.renew(info.pod)

    def remove_pod(self, key: str) -> bool:
        """Stop counting a pod; whether it was counted."""
        known = self._placed.pop(key, None)
        if known is None:
            return False
        entry = self.rows[known.row]
        if entry is not None:
            entry.pods.pop(key, None)
        self._count(known.info, known.row, -1)
        return True

    def placed(self, key: str) -> PodInfo | None:
        known = self._placed.get(key)
        return known.info if known is not None else None

    def placed_row(self, key: str) -> int | None:
        known = self._placed.get(key)
        return known.row if known is not None else None

    def pods(self, row: int) -> list[PodInfo]:
        entry = self.rows[row]
        return list(entry.pods.values()) if entry is not None else []

    def nominate(self, info: PodInfo, node: str) -> None:
        """Promise a node to a pod for which room is made there: only pods of higher priority overlook that."""
        self.withdraw(info.key)
        row = self._row_of.get(node)
        if row is not None:
            self.nominated[info.key] = Placed(info, row)
            self._expected.setdefault(row, set()).add(info.key)
            self._count_tiers(self.promised, info, row, 1)
            self._touch(row)

    def expected(self, row: int) -> list[str]:
        """The pods to which the row is promised."""
        return list(self._expected.get(row, ()))

    def withdraw(self, key: str) -> Placed | None:
        """Take back a promise; what it was."""
        known = self.nominated.pop(key, None)
        if known is not None:
            self._expected[known.row].discard(key)
            if not self._expected[known.row]:
                del self._expected[known.row]
            self._count_tiers(self.promised, known.info, known.row, -1)
            self._touch(known.row)
        return known

    def available(self, name: str, priority: int, rows: Rows = _ALL) -> npt.NDArray[np.int64] | None:
        """Row by row, what is left of a resource for a pod of this priority; None if no node has the resource."""
        column = self.columns.get(name)
        if column is None:
            return None
        left: npt.NDArray[np.int64] = self.allocatable[rows, column] - self.requested[rows, column]
        if self.promised:
            promised = self.promised.from_(priority, rows, column)
            if promised is not None:
                left -= promised
        return left

    def where(self, key: object, test: Callable[[Node], bool]) -> Mask:
        """The mask of nodes for which `test` holds, kept under `key` until a node's labels or spec change."""
        known = self._cached.get(key)
        if known is not None and known[0] == self.generation:
            return known[1]
        if len(self._cached) > 4096:
            self._cached.clear()
        mask = np.zeros(len(self.rows), np.bool_)
        for row, node in self.nodes():
            mask[row] = test(node)
        self._cached[key] = (self.generation, mask)
        return mask

    def by_row(self, key: Hashable, make: Callable[[Rows], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Row by row, what follows from the row alone: its node, what its pods take, what is promised there.

        Kept under `key`; `make` is asked for the rows that have changed since, at first for all. Not to be written to.
        """
        now = self._touched_before + len(self._touched)
        known = self._by_row.get(key)
        if known is None or len(known.values) != len(self.rows) or known.at < self._touched_before:
            self._by_row[key] = known = _Kept(make(_ALL), now)
            if len(self._by_row) > _KEPT:
                self._by_row.popitem(last=False)
            return known.values
        if known.at < now:
            touched = list(dict.fromkeys(self._touched[known.at - self._touched_before :]))
            # As a rule it is the one row that the last pod went to, and a slice is the fastest way to one.
            rows: Rows = slice(touched[0], touched[0] + 1) if len(touched) == 1 else touched
            known.values[rows] = make(rows)
            known.at = now
        self._by_row.move_to_end(key)
        return known.values

    def _touch(self, row: int) -> None:
        self.versions[row] += 1
        self._touched.append(row)
        if len(self._touched) > _TOUCHED:
            half = len(self._touched) // 2
            del self._touched[:half]
            self._touched_before += half

    def domains(self, label: str) -> Domains:
        """The nodes by the value that they have of a label, kept until a node's labels change."""
        known = self._domains.get(label)
        if known is not None and known[0] == self.generation:
            return known[1]
        numbers: dict[str, int] = {}
        ids = np.zeros(len(self.rows), np.intp)
        for row, node in self.nodes():
            value = node.metadata.labels.get(label)
            if value is not None:
                ids[row] = numbers.setdefault(value, len(numbers) + 1)
        made = Domains(ids, len(numbers) + 1, numbers)
        self._domains[label] = (self.generation, made)
        return made

    def _count(self, info: PodInfo, row: int, sign: int) -> None:
        for name, value in info.requests.items():
            # Before the matrix is looked at: a new column makes a new matrix.
            column = self._column(name)
            self.requested[row, column] += sign * value
        cpu, memory = info.scored
        self.scored[row, 0] += sign * cpu
        self.scored[row, 1] += sign * memory
        self._touch(row)
        self._count_tiers(self.tiers, info, row, sign)
        self.population.count(info, row, sign)
        self._count_ports(info, row, sign)
        for view in self._views.values():
            view.count(info, row, sign)

    def _count_tiers(self, tiers: Tiers, info: PodInfo, row: int, sign: int) -> None:
        columns = [self._column(name) for name in info.requests]
        tiers.count(info, row, columns, sign)

    def _count_ports(self, info: PodInfo, row: int, sign: int) -> None:
        for address, protocol, number in info.ports:
            addresses = self.ports.setdefault((protocol, number), {})
            rows = addresses.setdefault(address, {})
            rows[row] = rows.get(row, 0) + sign
            # Nothing is left of a port that nobody has.
            if not rows[row]:
                del rows[row]
            if not rows:
                del addresses[address]
            if not addresses:
                del self.ports[protocol, number]

    def _column(self, name: str) -> int:
        column = self.columns.get(name)
        if column is None:
            column = self.columns[name] = len(self.columns)
            wider = np.zeros((len(self.rows), 1), np.int64)
            self.allocatable = np.hstack([self.allocatable, wider])
            self.requested = np.hstack([self.requested, wider])
            self._reshape()
        return column

    def _take_row(self) -> int:
        if not self._free:
            start = len(self.rows)
            for name in ("allocatable", "requested", "scored"):
                matrix = getattr(self, name)
                setattr(self, name, np.vstack([matrix, np.zeros((_GROWTH, matrix.shape[1]), np.int64)]))
            self.live = np.concatenate([self.live, np.zeros(_GROWTH, np.bool_)])
            self.rows.extend([None] * _GROWTH)
            self._free = list(range(start + _GROWTH - 1, start - 1, -1))
            self.versions = np.concatenate([self.versions, np.zeros(_GROWTH, np.int64)])
            self.population.grow(len(self.rows))
            self.images.grow(len(self.rows))
            self._reshape()
        return self._free.pop()

    def _reshape(self) -> None:
        for tiers in (self.tiers, self.promised):
            tiers.reshape(len(self.rows), len(self.columns))


def _counts_alike(old: PodInfo, new: PodInfo) -> bool:
    alike = old.requests == new.requests and old.scored == new.scored and old.group == new.group
    return alike and old.pod.spec.priority == new.pod.spec.priority
