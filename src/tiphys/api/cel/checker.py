"""The type checker: gives every node its type and every call the overloads that it may mean.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#gradual-type-checking; the words are cel-go's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tiphys.api.cel import types as t
from tiphys.api.cel.ast import Call, Comprehension, Ident, ListNode, Literal, MapNode, Node, Select, StructNode
from tiphys.api.cel.declare import Overload
from tiphys.api.cel.errors import Issue
from tiphys.api.cel.types import Type
from tiphys.api.cel.values import type_of

Functions = Mapping[str, Sequence[Overload]]


# The types of structs that are known by a rule instead of by a list of names.
ResolveKind = Callable[[str], Type | None]


class Checker:
    """Checks one tree. `kinds` are the types that an expression may name, `issues` collects what is wrong."""

    def __init__(
        self, functions: Functions, kinds: Mapping[str, Type], variables: Mapping[str, Type], resolve_kind: ResolveKind
    ) -> None:
        self.issues: list[Issue] = []
        self._functions, self._kinds, self._resolve_kind = functions, kinds, resolve_kind
        self._scopes: list[Mapping[str, Type]] = [variables]
        self._found: t.Substitution = {}
        self._fresh = 0
        self._nodes: list[Node] = []
        # Above zero inside the arguments of a format, where lists and maps may mix types.
        self._mixing = 0

    def check(self, node: Node) -> Type:
        """The type of the whole; nodes carry theirs afterwards."""
        self._check(node)
        for each in self._nodes:
            each.type = t.substitute(self._found, each.type, to_dyn=True)
        return node.type

    def _check(self, node: Node) -> Type:
        node.type = _CHECKS[type(node)](self, node)
        self._nodes.append(node)
        return node.type

    def _issue(self, node: Node, message: str) -> Type:
        self.issues.append(Issue(node.at, message))
        return t.ERROR

    def _undeclared(self, node: Node, name: str) -> Type:
        return self._issue(node, f"undeclared reference to '{name}' (in container '')")

    def _variable(self) -> Type:
        self._fresh += 1
        return t.param(f"_var{self._fresh - 1}")

    def _lookup(self, name: str) -> Type | None:
        for scope in reversed(self._scopes):
            found = scope.get(name)
            if found is not None:
                return found
        return None

    def _literal(self, node: Literal) -> Type:
        return type_of(node.value)

    def _ident(self, node: Ident) -> Type:
        found = self._lookup(node.name)
        if found is not None:
            return found
        kind = self._kinds.get(node.name)
        if kind is None:
            return self._undeclared(node, node.name)
        node.constant = kind
        return t.type_of(kind)

    def _select(self, node: Select) -> Type:
        name = None if node.test else dotted(node)
        variable = self._lookup(name) if name is not None else None
        if variable is not None and name is not None:
            node.variable = name
            return variable
        if name is not None and name in self._kinds and self._lookup(name.partition(".")[0]) is None:
            node.constant = self._kinds[name]
            return t.type_of(node.constant)
        found = self._field(node, node.operand, node.field)
        return t.BOOL if node.test else t.substitute(self._found, found)

    def _field(self, node: Node, operand: Node, name: str, *, optional: bool = False) -> Type:
        kind = t.substitute(self._found, self._check(operand))
        target, was_optional = t.unwrap(kind)
        found: Type = t.DYN
        if target.kind == "map":
            found = target.params[1]
        elif isinstance(target, t.Struct):
            field = target.field(name)
            found = field.type if field is not None else self._issue(node, f"undefined field '{name}'")
        elif target.kind == "param":
            t.assignable(self._found, t.DYN, target)
        elif target.kind not in ("dyn", "error"):
            self._issue(node, f"type '{target}' does not support field selection")
        return t.optional_of(found) if was_optional or optional else found

    def _call(self, node: Call) -> Type:
        if node.function == "_?._":
            field = node.args[1]
            assert isinstance(field, Literal)
            node.overloads = tuple(self._functions["_?._"])
            return t.substitute(self._found, self._field(node, node.args[0], str(field.value), optional=True))
        mixing = node.function == "format"
        self._mixing += mixing
        for arg in node.args:
            self._check(arg)
        self._mixing -= mixing
        if node.target is None:
            return self._resolve(node)
        prefix = dotted(node.target)
        if prefix is not None and f"{prefix}.{node.function}" in self._functions:
            node.function, node.target = f"{prefix}.{node.function}", None
            return self._resolve(node)
        self._check(node.target)
        return self._resolve(node)

    def _resolve(self, node: Call) -> Type:
        declared = self._functions.get(node.function)
        if declared is None:
            return self._undeclared(node, node.function)
        if node.function in ("_&&_", "_||_"):
            return self._logical(node, declared)
        member = node.target is not None
        given = [node.target, *node.args] if node.target is not None else node.args
        kinds = tuple(each.type for each in given)
        found, result = self._candidates(declared, kinds, member=member)
        if result is None:
            shown = tuple(t.substitute(self._found, kind, to_dyn=True) for kind in kinds)
            where = t.signature(shown, member=member)
            return self._issue(node, f"found no matching overload for '{node.function}' applied to '{where}'")
        node.overloads = tuple(found)
        return result

    def _candidates(
        self, declared: Sequence[Overload], kinds: tuple[Type, ...], *, member: bool
    ) -> tuple[list[Overload], Type | None]:
        result: Type | None = None
        found: list[Overload] = []
        for overload in declared:
            if overload.member != member or len(overload.params) != len(kinds):
                continue
            fresh = {name: self._variable() for name in overload.variables}
            params = tuple(t.substitute(fresh, each) for each in overload.params) if fresh else overload.params
            if not t.assignable_all(self._found, kinds, params):
                continue
            found.append(overload)
            mine = t.substitute(self._found, t.substitute(fresh, overload.result))
            if result is None:
                result = mine
            elif result.kind != "dyn" and mine != result:
                result = t.DYN
        return found, result

    def _logical(self, node: Call, declared: Sequence[Overload]) -> Type:
        fine = True
        for arg in node.args:
            if not t.assignable(self._found, arg.type, t.BOOL):
                self._mismatch(arg, t.BOOL, arg.type)
                fine = False
        node.overloads = tuple(declared)
        return t.BOOL if fine else t.ERROR

    def _mismatch(self, node: Node, expected: Type, actual: Type) -> Type:
        return self._issue(node, f"expected type '{expected}' but found '{actual}'")

    def _list(self, node: ListNode) -> Type:
        joined: Type | None = None
        for index, element in enumerate(node.elements):
            kind = self._check(element)
            joined = self._join(element, joined, self._unwrapped(element, kind, index in node.optional))
        return t.list_of(joined if joined is not None else self._variable())

    def _unwrapped(self, node: Node, kind: Type, optional: bool) -> Type:
        if not optional:
            return kind
        inner, was_optional = t.unwrap(kind)
        if not was_optional and inner.kind != "dyn":
            self._mismatch(node, t.optional_of(inner), inner)
        return inner

    def _join(self, node: Node, previous: Type | None, current: Type) -> Type:
        if previous is None:
            return current
        if t.assignable(self._found, previous, current):
            return t.most_general(previous, current)
        return t.DYN if self._mixing else self._mismatch(node, previous, current)

    def _map(self, node: MapNode) -> Type:
        key: Type | None = None
        value: Type | None = None
        for entry in node.entries:
            key = self._join(entry.key, key, self._check(entry.key))
            kind = self._unwrapped(entry.value, self._check(entry.value), entry.optional)
            value = self._join(entry.value, value, kind)
        if key is None or value is None:
            return t.map_of(self._variable(), self._variable())
        return t.map_of(key, value)

    def _struct(self, node: StructNode) -> Type:
        kind = self._kinds.get(node.name) or self._resolve_kind(node.name)
        if kind is None:
            return self._undeclared(node, node.name)
        if not isinstance(kind, t.Struct):
            return self._issue(node, f"'{node.name}' is not a message type")
        for field in node.fields:
            value = self._unwrapped(field.value, self._check(field.value), field.optional)
            declared = kind.field(field.name)
            if declared is None:
                self.issues.append(Issue(field.at, f"undefined field '{field.name}'"))
            elif not t.assignable(self._found, declared.type, value):
                expected = f"expected type of field '{field.name}' is '{declared.type}'"
                self.issues.append(Issue(field.at, f"{expected} but provided type is '{value}'"))
        return kind

    def _comprehension(self, node: Comprehension) -> Type:
        over = t.substitute(self._found, self._check(node.range))
        accumulated = self._check(node.initial)
        first, second = self._iterated(node, over)
        self._scopes.append({node.accumulator: accumulated})
        scope = {node.variable: first}
        if node.variable2:
            scope[node.variable2] = second
        self._scopes.append(scope)
        self._assert(node.condition, t.BOOL)
        self._assert(node.step, accumulated)
        self._scopes.pop()
        self._check(node.result)
        self._scopes.pop()
        return t.substitute(self._found, node.result.type)

    def _assert(self, node: Node, expected: Type) -> None:
        actual = self._check(node)
        if not t.assignable(self._found, expected, actual):
            self._mismatch(node, expected, actual)

    def _iterated(self, node: Comprehension, over: Type) -> tuple[Type, Type]:
        if over.kind == "list":
            return (t.INT, over.params[0]) if node.variable2 else (over.params[0], t.DYN)
        if over.kind == "map":
            return over.params[0], over.params[1]
        if over.kind in ("dyn", "error", "param"):
            t.assignable(self._found, t.DYN, over)
            return t.DYN, t.DYN
        text = f"expression of type '{over}' cannot be range of a comprehension (must be list, map, or dynamic)"
        self._issue(node.range, text)
        return t.ERROR, t.ERROR


def dotted(node: Node) -> str | None:
    """`a.b.c` for a chain of plain selections."""
    parts: list[str] = []
    while isinstance(node, Select) and not node.test:
        parts.append(node.field)
        node = node.operand
    return ".".join([node.name, *reversed(parts)]) if isinstance(node, Ident) else None


_CHECKS: dict[type[Node], Any] = {
    Literal: Checker._literal, Ident: Checker._ident, Select: Checker._select, Call: Checker._call,
    ListNode: Checker._list, MapNode: Checker._map, StructNode: Checker._struct,
    Comprehension: Checker._comprehension,
}  # fmt: skip
