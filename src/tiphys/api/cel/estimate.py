"""Static cost: the least and the most that an expression can cost, from what a schema says about sizes.

The rules are cel-go's (`checker/cost.go`), with the costs of Kubernetes' functions from `estimate_calls`. An estimate
is a pair (least, most) of units, a size a pair of lengths; both stop at 2**64 - 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tiphys.api.cel import types as t
from tiphys.api.cel.ast import (
    ACCUMULATOR,
    Call,
    Comprehension,
    Ident,
    ListNode,
    Literal,
    MapNode,
    Node,
    Select,
    StructNode,
)
from tiphys.api.cel.decl import Decl

MOST = 2**64 - 1


class Range(NamedTuple):
    """A size or a cost: at least, at most."""

    least: int
    most: int

    def plus(self, other: Range) -> Range:
        return Range(min(self.least + other.least, MOST), min(self.most + other.most, MOST))

    def times(self, other: Range) -> Range:
        return Range(min(self.least * other.least, MOST), min(self.most * other.most, MOST))

    def scaled(self, tenths: float) -> Range:
        """By a factor, rounded up."""
        return Range(_scaled(self.least, tenths), _scaled(self.most, tenths))

    def union(self, other: Range) -> Range:
        return Range(min(self.least, other.least), max(self.most, other.most))


def _scaled(value: int, factor: float) -> int:
    scaled = float(value) * factor
    return MOST if scaled >= 2.0**64 else -int(-scaled // 1)


def fixed(value: int) -> Range:
    return Range(value, value)


UNKNOWN = Range(0, MOST)
_NOTHING, _ONE = fixed(0), fixed(1)
_SCALARS = frozenset({"bool", "double", "duration", "int", "timestamp", "uint"})
_IMPOSSIBLE = Range(MOST, 0)


class Entry(NamedTuple):
    """The sizes of what a container made by the expression holds."""

    kind: str
    key: Range
    value: Range


class _Local(NamedTuple):
    path: tuple[str, ...]
    size: Range | None
    entry: Entry | None


def estimate(node: Node, root: Decl | None) -> Range:
    """The cost of a checked tree whose variables `self` and `oldSelf` are declared by `root`."""
    try:
        return Coster(root).cost(node)
    except RecursionError:
        # Nobody knows what an expression costs that is nested too deeply.
        return UNKNOWN


class Coster:
    """Walks one tree. What it learns about a node is kept by the node's identity."""

    def __init__(self, root: Decl | None) -> None:
        self._root = root
        self._paths: dict[int, tuple[str, ...]] = {}
        self._sizes: dict[int, Range] = {}
        self._entries: dict[int, Entry] = {}
        self._locals: dict[str, list[_Local]] = {}

    def cost(self, node: Node) -> Range:
        return _COSTS[type(node)](self, node)

    def size(self, node: Node) -> Range:
        """The size of what the node evaluates to, as far as anything is known."""
        found = self._size(node)
        return UNKNOWN if found is None else found

    def element_size(self, node: Node) -> Range:
        """The size of the elements of a list."""
        found = self._declared((*self.path(node), "@items"))
        return UNKNOWN if found is None else found

    def path(self, node: Node) -> tuple[str, ...]:
        """Where the node's value lies below a variable; empty where that is not known."""
        if isinstance(node, Ident):
            local = self._local(node.name)
            if local is not None:
                return local.path
        return self._paths.get(id(node), ())

    def set_entry(self, node: Node, entry: Entry | None) -> None:
        if entry is not None:
            self._entries[id(node)] = entry

    def entry(self, node: Node) -> Entry | None:
        found = self._entries.get(id(node))
        if found is None and isinstance(node, Ident):
            local = self._local(node.name)
            return local.entry if local is not None else None
        return found

    def _local(self, name: str) -> _Local | None:
        stack = self._locals.get(name)
        return stack[-1] if stack else None

    def _push(self, name: str, local: _Local) -> None:
        self._locals.setdefault(name, []).append(local)

    def _size(self, node: Node) -> Range | None:
        found = self._sizes.get(id(node))
        if found is None:
            found = _literal_size(node)
        if found is None:
            found = self._declared(self.path(node))
            if found is not None:
                self._sizes[id(node)] = found
        if found is None and _is_scalar(node.type):
            found = _ONE
        if found is None and isinstance(node, Ident):
            local = self._local(node.name)
            found = local.size if local is not None else None
        return found

    def _declared(self, path: tuple[str, ...]) -> Range | None:
        """What the schema says about the size at a path."""
        decl = self._root
        if not path or path[0] == ACCUMULATOR:
            return None
        for name in path[1:]:
            if decl is None:
                return None
            if name in ("@items", "@values"):
                decl = decl.element
            else:
                decl = decl.key if name == "@keys" else decl.fields.get(name)
        return None if decl is None else Range(0, decl.longest)

    def _literal(self, node: Literal) -> Range:
        return _NOTHING

    def _ident(self, node: Ident) -> Range:
        local = self._local(node.name)
        self._paths[id(node)] = local.path if local is not None else (node.name,)
        return _ONE

    def _select(self, node: Select) -> Range:
        if node.constant is not None:
            self._paths[id(node)] = (node.constant.name,)
            return _ONE
        if node.variable:
            return _ONE
        total = self.cost(node.operand)
        if node.test:
            return total
        if node.operand.type.kind in ("map", "struct", "param"):
            total = total.plus(_ONE)
        self._paths[id(node)] = (*self.path(node.operand), node.field)
        return total

    def _call(self, node: Call) -> Range:
        # The costs of calls are a file of their own, which needs this one.
        from tiphys.api.cel.estimate_calls import call_cost

        if node.function == "dyn":
            total = self.cost(node.args[0]).plus(_ONE)
            self._copy(node, node.args[0])
            return total
        costs = [self.cost(arg) for arg in node.args]
        if not node.overloads:
            return _NOTHING
        total = self.cost(node.target) if node.target is not None else _NOTHING
        cost, size = _IMPOSSIBLE, None
        for overload in node.overloads:
            mine, result = call_cost(self, node, overload.id, costs)
            cost = cost.union(mine)
            if result is not None:
                size = result if size is None else size.union(result)
            if overload.id in ("index_list", "index_map"):
                entry = self.entry(node.args[0])
                size = entry.value if entry is not None else None
                step = "@items" if overload.id == "index_list" else "@values"
                self._paths[id(node)] = (*self.path(node.args[0]), step)
            if size is None:
                size = self._size(node)
        if size is not None:
            self._sizes[id(node)] = size
        return total.plus(cost)

    def _copy(self, node: Node, other: Node) -> None:
        size = self._size(other)
        if size is not None:
            self._sizes[id(node)] = size
        self.set_entry(node, self.entry(other))

    def _list(self, node: ListNode) -> Range:
        total, item = _NOTHING, Range(MOST if node.elements else 0, 0)
        for element in node.elements:
            total = total.plus(self.cost(element))
            item = item.union(self.size(element))
        self.set_entry(node, Entry("list", _ONE, item))
        return total.plus(fixed(10))

    def _map(self, node: MapNode) -> Range:
        total = _NOTHING
        key = value = Range(MOST if node.entries else 0, 0)
        for entry in node.entries:
            total = total.plus(self.cost(entry.key)).plus(self.cost(entry.value))
            key, value = key.union(self.size(entry.key)), value.union(self.size(entry.value))
        self.set_entry(node, Entry("map", key, value))
        return total.plus(fixed(30))

    def _struct(self, node: StructNode) -> Range:
        total = fixed(40)
        for field in node.fields:
            total = total.plus(self.cost(field.value))
        return total

    def _comprehension(self, node: Comprehension) -> Range:
        total = self.cost(node.range).plus(self.cost(node.initial))
        initial = _Local(self.path(node.initial), self._size(node.initial), self.entry(node.initial))
        self._push(node.accumulator, initial)
        if node.macro == "bind":
            total = total.plus(self.cost(node.result))
            self._locals[node.accumulator].pop()
            self._copy(node, node.result)
            return total
        for name, local in self._iterated(node):
            self._push(name, local)
        turn = self.cost(node.condition).plus(self.cost(node.step))
        for name in filter(None, (node.variable, node.variable2)):
            self._locals[name].pop()
        total = total.plus(self.cost(node.result))
        self._locals[node.accumulator].pop()
        count = self.size(node.range)
        self._result_size(node, count)
        return total.plus(count.times(turn))

    def _result_size(self, node: Comprehension, count: Range) -> None:
        if isinstance(node.initial, Literal):
            size = self._size(node.initial)
            if size is not None:
                self._sizes[id(node)] = size
        elif isinstance(node.initial, (ListNode, MapNode)):
            self._sizes[id(node)] = count
            self.set_entry(node, self.entry(node.step))

    def _iterated(self, node: Comprehension) -> list[tuple[str, _Local]]:
        entry, path = self.entry(node.range), self.path(node.range)
        kind = entry.kind if entry is not None else node.range.type.kind
        key = entry.key if entry is not None else None
        value = entry.value if entry is not None else None
        keys = _Local((*path, "@indices" if kind == "list" else "@keys"), key, None)
        values = _Local((*path, "@items" if kind == "list" else "@values"), value, None)
        if node.variable2:
            return [(node.variable, keys), (node.variable2, values)]
        return [(node.variable, values if kind == "list" else keys)]


def _literal_size(node: Node) -> Range | None:
    if isinstance(node, Literal):
        return fixed(len(node.value)) if type(node.value) in (str, bytes) else _ONE
    if isinstance(node, ListNode):
        return fixed(len(node.elements))
    return fixed(len(node.entries)) if isinstance(node, MapNode) else None


def _is_scalar(kind: t.Type) -> bool:
    return kind.kind in _SCALARS or (t.is_optional(kind) and _is_scalar(kind.params[0]))


_COSTS: dict[type[Node], Callable[..., Range]] = {
    Literal: Coster._literal, Ident: Coster._ident, Select: Coster._select, Call: Coster._call, ListNode: Coster._list,
    MapNode: Coster._map, StructNode: Coster._struct, Comprehension: Coster._comprehension,
}  # fmt: skip
