"""A checked tree to Python closures: `run(frame) -> value`.

A frame is a list: place 0 counts the cost, the others hold the variables. Every node has its closure, which adds its
own cost as cel-go's tracker does; what depends on data, and every turn of a loop, checks the limit. Constant lists,
maps and conversions are computed here, once, and cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tiphys.api.cel import access, calls, loops
from tiphys.api.cel.ast import Call, Comprehension, Ident, ListNode, Literal, MapNode, Node, Select, StructNode
from tiphys.api.cel.calls import Frame, Run
from tiphys.api.cel.errors import EvalError
from tiphys.api.cel.types import Struct
from tiphys.api.cel.values import Optional, Typed

_CONVERSIONS = frozenset({
    "bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint",
})  # fmt: skip


class Planner:
    """Plans one tree; `slots` is where each global variable lies, `size` how long a frame must be."""

    def __init__(self, variables: Sequence[str]) -> None:
        self.slots = {name: index + 1 for index, name in enumerate(variables)}
        self.size = len(self.slots) + 1
        self._locals: list[dict[str, int]] = []
        self._constants: dict[Run, Any] = {}

    def plan(self, node: Node) -> Run:
        run: Run = _PLANS[type(node)](self, node)
        return run

    def constant(self, run: Run) -> bool:
        return run in self._constants

    def _fixed(self, value: Any) -> Run:
        def fixed(frame: Frame) -> Any:
            return value

        self._constants[fixed] = value
        return fixed

    def slot(self) -> int:
        self.size += 1
        return self.size - 1

    def scope(self, names: dict[str, int]) -> None:
        self._locals.append(names)

    def leave(self) -> None:
        self._locals.pop()

    def _literal(self, node: Literal) -> Run:
        return self._fixed(node.value)

    def _ident(self, node: Ident) -> Run:
        if node.constant is not None:
            return self._type_name(node.constant)
        for scope in reversed(self._locals):
            if node.name in scope:
                return access.local(scope[node.name])
        return access.variable(self.slots[node.name], node.name)

    def _type_name(self, value: Any) -> Run:
        def named(frame: Frame) -> Any:
            return value

        return named

    def _select(self, node: Select) -> Run:
        if node.constant is not None:
            return self._type_name(node.constant)
        if node.variable:
            return access.variable(self.slots[node.variable], node.variable)
        operand = self._operand(node.operand)
        name = node.field
        kind = node.operand.type
        if isinstance(kind, Struct):
            field = kind.field(name)
            name = field.name if field is not None else name
            if kind.nulls:
                return access.test(operand, name) if node.test else access.selection(operand, name)
            return access.test_field(operand, name) if node.test else access.field(operand, name)
        return access.test(operand, name) if node.test else access.selection(operand, name)

    def _call(self, node: Call) -> Run:
        special = _SPECIAL.get(node.function)
        if special is not None:
            planned: Run = special(self, node)
            return planned
        given = [node.target, *node.args] if node.target is not None else node.args
        if node.function in ("_[_]", "_[?_]"):
            args = [self._operand(node.args[0]), self._free(node.args[1])]
        else:
            args = [self.plan(each) for each in given]
        run = calls.plan(node, [each.type for each in given], args)
        if node.function in _CONVERSIONS and len(args) == 1 and args[0] in self._constants:
            return self._fold(run)
        return run

    def _operand(self, node: Node) -> Run:
        """What is selected from: cel-go counts one unit more for what is not a variable or a selection itself."""
        run = self.plan(node)
        if _is_attribute(node) or (isinstance(node, Call) and node.function == "_?_:_") or run in self._constants:
            return run
        return access.charged(run, 1)

    def _free(self, node: Node) -> Run:
        """A branch of a choice or an index: cel-go does not count the variable at its root."""
        run = self.plan(node)
        return access.charged(run, -1) if _is_attribute(node) else run

    def _fold(self, run: Run) -> Run:
        try:
            return self._fixed(run([0]))
        except EvalError:
            return run

    def _list(self, node: ListNode) -> Run:
        elements = [self.plan(each) for each in node.elements]
        if node.optional:
            return access.optional_list(elements, node.optional)
        if all(each in self._constants for each in elements):
            return self._fixed([self._constants[each] for each in elements]) if elements else self._fixed([])

        def make(frame: Frame) -> Any:
            found = [each(frame) for each in elements]
            frame[0] += 10
            return found

        return make

    def _map(self, node: MapNode) -> Run:
        entries = [(self.plan(entry.key), self.plan(entry.value), entry.optional) for entry in node.entries]
        run = access.map_maker(entries)
        if all(one in self._constants and two in self._constants for one, two, _ in entries):
            return self._fold(run)
        return run

    def _struct(self, node: StructNode) -> Run:
        kind = node.type
        fields = [(field.name, self.plan(field.value), field.optional) for field in node.fields]

        def make(frame: Frame) -> Any:
            found = {}
            for name, run, optional in fields:
                value = run(frame)
                if optional:
                    if not value.present:
                        continue
                    value = value.value
                found[name] = value
            frame[0] += 40
            return Typed(kind, found)

        return make

    def _comprehension(self, node: Comprehension) -> Run:
        return loops.plan(self, node)

    def _and(self, node: Call) -> Run:
        return calls.all_of([self.plan(each) for each in node.args])

    def _or(self, node: Call) -> Run:
        return calls.any_of([self.plan(each) for each in node.args])

    def _conditional(self, node: Call) -> Run:
        test, then, otherwise = self.plan(node.args[0]), self._free(node.args[1]), self._free(node.args[2])

        def choose(frame: Frame) -> Any:
            chosen = test(frame)
            if chosen is True:
                return then(frame)
            if chosen is False:
                return otherwise(frame)
            raise EvalError("no such overload")

        return choose

    def _in(self, node: Call) -> Run:
        """Membership in a list of constants is a look-up, which costs nothing."""
        if [each.id for each in node.overloads] == ["in_list"]:
            value, items = map(self.plan, node.args)
            if items in self._constants:
                constants = self._constants[items]
                kinds = {type(each) for each in constants}
                if len(kinds) == 1 and kinds <= {str, int}:
                    return access.look_up(value, frozenset(constants), kinds.pop())
        return calls.plan(node, [each.type for each in node.args], [self.plan(each) for each in node.args])

    def _opt_select(self, node: Call) -> Run:
        operand = self.plan(node.args[0])
        field = node.args[1]
        assert isinstance(field, Literal)
        name = field.value
        kind = node.args[0].type
        if kind.params and kind.name == "optional_type":
            kind = kind.params[0]
        if isinstance(kind, Struct):
            field_found = kind.field(name)
            name = field_found.name if field_found is not None else name
        return access.optional_selection(operand, name, declared=isinstance(kind, Struct) and not kind.nulls)

    def _or_value(self, node: Call) -> Run:
        """`a.or(b)` and `a.orValue(b)` look at the second only where the first is missing."""
        assert node.target is not None
        target, other = self.plan(node.target), self.plan(node.args[0])
        inner = node.function == "orValue"

        def choose(frame: Frame) -> Any:
            first = target(frame)
            if type(first) is not Optional:
                raise EvalError("no such overload")
            if first.present:
                return first.value if inner else first
            return other(frame)

        return choose


def _is_attribute(node: Node) -> bool:
    if isinstance(node, Call):
        return node.function in ("_[_]", "_[?_]", "_?._")
    return isinstance(node, (Ident, Select)) and node.constant is None and not (isinstance(node, Select) and node.test)


_PLANS: dict[type[Node], Callable[..., Run]] = {
    Literal: Planner._literal, Ident: Planner._ident, Select: Planner._select, Call: Planner._call,
    ListNode: Planner._list, MapNode: Planner._map, StructNode: Planner._struct,
    Comprehension: Planner._comprehension,
}  # fmt: skip
_SPECIAL: dict[str, Callable[..., Run]] = {
    "_&&_": Planner._and, "_||_": Planner._or, "_?_:_": Planner._conditional, "_?._": Planner._opt_select,
    "@in": Planner._in, "or": Planner._or_value, "orValue": Planner._or_value,
}  # fmt: skip
