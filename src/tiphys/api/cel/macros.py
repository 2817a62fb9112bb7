"""Macros: calls that the parser rewrites into folds.

Source: cel-go's `parser/macro.go`, `ext/comprehensions.go`, `ext/lists.go` and `cel/library.go`.
"""

from __future__ import annotations

from collections.abc import Callable

from tiphys.api.cel.ast import ACCUMULATOR, Call, Comprehension, Ident, ListNode, Literal, MapNode, Node, Select


class MacroError(Exception):
    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at


def expand(name: str, at: int, target: Node | None, args: list[Node]) -> Node | None:
    """What the call becomes, or None where it is an ordinary call. Raises MacroError."""
    if target is None:
        return _has(at, args[0]) if name == "has" and len(args) == 1 else None
    maker = _RECEIVER.get((name, len(args)))
    return maker(at, target, args) if maker is not None else None


def _has(at: int, arg: Node) -> Node:
    if not isinstance(arg, Select):
        raise MacroError(arg.at, "invalid argument to has() macro")
    return Select(at, arg.operand, arg.field, test=True)


def _variable(node: Node, complaint: str) -> str:
    if not isinstance(node, Ident):
        raise MacroError(node.at, complaint)
    if node.name == "__result__":
        raise MacroError(node.at, "iteration variable overwrites accumulator variable")
    return node.name


_SIMPLE, _IDENTIFIER = "argument must be a simple name", "argument is not an identifier"


def _fold(at: int, macro: str, target: Node, args: list[Node], names: int) -> Comprehension:
    complaint = _SIMPLE if macro in ("all", "exists", "exists_one") or names == 2 else _IDENTIFIER
    one = _variable(args[0], complaint)
    two = _variable(args[1], complaint) if names == 2 else ""
    if one == two:
        raise MacroError(args[1].at, f"duplicate variable name: {one}")
    return Comprehension(at, macro, target, (one, two))


def _accumulator(at: int) -> Node:
    return Ident(at, ACCUMULATOR)


def _quantifier(macro: str, names: int) -> Callable[[int, Node, list[Node]], Node]:
    def make(at: int, target: Node, args: list[Node]) -> Node:
        node = _fold(at, macro, target, args, names)
        node.predicate = predicate = args[names]
        accumulated = _accumulator(at)
        if macro == "exists_one":
            node.initial = Literal(at, 0)
            more = Call(at, "_+_", [accumulated, Literal(at, 1)])
            node.step = Call(at, "_?_:_", [predicate, more, _accumulator(at)])
            node.result = Call(at, "_==_", [_accumulator(at), Literal(at, 1)])
            return node
        holds = macro == "all"
        node.initial = Literal(at, holds)
        tested = accumulated if holds else Call(at, "!_", [accumulated])
        node.condition = Call(at, "@not_strictly_false", [tested])
        node.step = Call(at, "_&&_" if holds else "_||_", [_accumulator(at), predicate])
        return node

    return make


def _transform(names: int, *, filtered: bool) -> Callable[[int, Node, list[Node]], Node]:
    def make(at: int, target: Node, args: list[Node]) -> Node:
        node = _fold(at, "map", target, args, names)
        node.predicate = args[names] if filtered else None
        node.transform = args[-1]
        return _collect(node)

    return make


def _filter(at: int, target: Node, args: list[Node]) -> Node:
    node = _fold(at, "filter", target, args, 1)
    node.predicate, node.transform = args[1], args[0]
    return _collect(node)


def _collect(node: Comprehension) -> Node:
    at = node.at
    assert node.transform is not None
    node.initial = ListNode(at, [])
    node.step = Call(at, "_+_", [_accumulator(at), ListNode(at, [node.transform])])
    return _guarded(node)


def _insert(*, entry: bool, filtered: bool) -> Callable[[int, Node, list[Node]], Node]:
    def make(at: int, target: Node, args: list[Node]) -> Node:
        node = _fold(at, "insert", target, args, 2)
        node.predicate = args[2] if filtered else None
        node.transform = args[-1]
        node.initial = MapNode(at, [])
        key: list[Node] = [] if entry else [Ident(at, node.variable)]
        node.step = Call(at, "cel.@mapInsert", [_accumulator(at), *key, args[-1]])
        return _guarded(node)

    return make


def _guarded(node: Comprehension) -> Node:
    if node.predicate is not None:
        node.step = Call(node.at, "_?_:_", [node.predicate, node.step, _accumulator(node.at)])
    return node


def bind(at: int, name: str, value: Node, result: Node) -> Comprehension:
    """`result` with `name` standing for `value`, which is computed once."""
    node = Comprehension(at, "bind", ListNode(at, []), ("#unused", ""))
    node.accumulator, node.initial, node.result = name, value, result
    node.condition, node.step = Literal(at, False), Ident(at, name)
    return node


def _opt_map(*, flat: bool) -> Callable[[int, Node, list[Node]], Node]:
    def make(at: int, target: Node, args: list[Node]) -> Node:
        if not isinstance(args[0], Ident):
            name = "optFlatMap" if flat else "optMap"
            raise MacroError(args[0].at, f"{name}() variable name must be a simple identifier")
        bound = bind(at, args[0].name, Call(at, "value", [], target), args[1])
        present: Node = bound if flat else Call(at, "optional.of", [bound])
        return Call(at, "_?_:_", [Call(at, "hasValue", [], target), present, Call(at, "optional.none", [])])

    return make


def _sort_by(at: int, target: Node, args: list[Node]) -> Node:
    if not isinstance(target, (ListNode, Select, Ident, Comprehension, Call)):
        text = "sortBy can only be applied to a list, identifier, comprehension, call or select expression"
        raise MacroError(target.at, text)
    name = "@__sortBy_input__"
    keys = _transform(1, filtered=False)(at, Ident(at, name), args)
    return bind(at, name, target, Call(at, "@sortByAssociatedKeys", [keys], Ident(at, name)))


_RECEIVER: dict[tuple[str, int], Callable[[int, Node, list[Node]], Node]] = {
    ("all", 2): _quantifier("all", 1),
    ("exists", 2): _quantifier("exists", 1),
    ("exists_one", 2): _quantifier("exists_one", 1),
    ("existsOne", 2): _quantifier("exists_one", 1),
    ("map", 2): _transform(1, filtered=False),
    ("map", 3): _transform(1, filtered=True),
    ("filter", 2): _filter,
    ("all", 3): _quantifier("all", 2),
    ("exists", 3): _quantifier("exists", 2),
    ("exists_one", 3): _quantifier("exists_one", 2),
    ("existsOne", 3): _quantifier("exists_one", 2),
    ("transformList", 3): _transform(2, filtered=False),
    ("transformList", 4): _transform(2, filtered=True),
    ("transformMap", 3): _insert(entry=False, filtered=False),
    ("transformMap", 4): _insert(entry=False, filtered=True),
    ("transformMapEntry", 3): _insert(entry=True, filtered=False),
    ("transformMapEntry", 4): _insert(entry=True, filtered=True),
    ("optMap", 2): _opt_map(flat=False),
    ("optFlatMap", 2): _opt_map(flat=True),
    ("sortBy", 2): _sort_by,
}
