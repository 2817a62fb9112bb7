"""The tree of an expression. `at` is the offset that complaints about a node point to, as cel-go places them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tiphys.api.cel.types import DYN, Type

if TYPE_CHECKING:
    from tiphys.api.cel.declare import Overload


class Node:
    """`type` is what the checker found out."""

    __slots__ = ("at", "type")

    def __init__(self, at: int) -> None:
        self.at = at
        self.type: Type = DYN


class Literal(Node):
    __slots__ = ("value",)

    def __init__(self, at: int, value: Any) -> None:
        super().__init__(at)
        self.value = value


class Ident(Node):
    """A variable, or, once checked, the name of a type (`constant` holds it then)."""

    __slots__ = ("constant", "name")

    def __init__(self, at: int, name: str) -> None:
        super().__init__(at)
        self.name = name
        self.constant: Any = None


class Select(Node):
    """`operand.field`; `test` for `has(operand.field)`.

    The checker may find that it is the name of a type (`constant`) or of a variable whose name has dots (`variable`).
    """

    __slots__ = ("constant", "field", "operand", "test", "variable")

    def __init__(self, at: int, operand: Node, field: str, *, test: bool = False) -> None:
        super().__init__(at)
        self.operand, self.field, self.test = operand, field, test
        self.constant: Any = None
        self.variable = ""


class Call(Node):
    """A function, method or operator (`_+_`). The checker fills `overloads` with those that may be meant."""

    __slots__ = ("args", "function", "overloads", "target")

    def __init__(self, at: int, function: str, args: list[Node], target: Node | None = None) -> None:
        super().__init__(at)
        self.function, self.args, self.target = function, args, target
        self.overloads: tuple[Overload, ...] = ()


class ListNode(Node):
    """`optional` holds the positions that were written `?x`."""

    __slots__ = ("elements", "optional")

    def __init__(self, at: int, elements: list[Node], optional: frozenset[int] = frozenset()) -> None:
        super().__init__(at)
        self.elements, self.optional = elements, optional


class Entry:
    __slots__ = ("at", "key", "optional", "value")

    def __init__(self, at: int, key: Node, value: Node, *, optional: bool) -> None:
        self.at, self.key, self.value, self.optional = at, key, value, optional


class MapNode(Node):
    __slots__ = ("entries",)

    def __init__(self, at: int, entries: list[Entry]) -> None:
        super().__init__(at)
        self.entries = entries


class StructField:
    __slots__ = ("at", "name", "optional", "value")

    def __init__(self, at: int, name: str, value: Node, *, optional: bool) -> None:
        self.at, self.name, self.value, self.optional = at, name, value, optional


class StructNode(Node):
    __slots__ = ("fields", "name")

    def __init__(self, at: int, name: str, fields: list[StructField]) -> None:
        super().__init__(at)
        self.name, self.fields = name, fields


class Comprehension(Node):
    """A fold over a list or the keys of a map, which is what every macro becomes.

    `macro` names the shape, so that the planner need not find it out again: `all`, `exists`, `exists_one`, `map`,
    `filter`, `insert` or `bind`; `predicate` and `transform` are the parts of it that the author wrote.
    """

    __slots__ = (
        "accumulator", "condition", "initial", "macro", "predicate", "range", "result", "step", "transform", "variable",
        "variable2",
    )  # fmt: skip

    def __init__(self, at: int, macro: str, over: Node, variables: tuple[str, str]) -> None:
        super().__init__(at)
        self.macro, self.range = macro, over
        self.variable, self.variable2 = variables
        self.accumulator = ACCUMULATOR
        self.initial: Node = Literal(at, None)
        self.condition: Node = Literal(at, True)
        self.step: Node = Literal(at, None)
        self.result: Node = Ident(at, ACCUMULATOR)
        self.predicate: Node | None = None
        self.transform: Node | None = None


ACCUMULATOR = "@result"
