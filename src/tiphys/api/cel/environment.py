"""The front door: an Environment compiles source text to a Program, a Program evaluates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tiphys.api.cel import types as t
from tiphys.api.cel.access import MISSING
from tiphys.api.cel.ast import Node
from tiphys.api.cel.calls import PER_CALL_LIMIT
from tiphys.api.cel.checker import Checker, ResolveKind
from tiphys.api.cel.declare import Library, Overload
from tiphys.api.cel.errors import CompileError, CostExceeded, EvalError, Issue, TypeMismatch
from tiphys.api.cel.library.operators import OPERATORS
from tiphys.api.cel.library.standard import STANDARD
from tiphys.api.cel.parser import parse
from tiphys.api.cel.planner import Planner
from tiphys.api.cel.types import Type
from tiphys.api.cel.validators import validate

_KINDS: dict[str, Type] = {
    kind.name: kind for kind in (t.BOOL, t.INT, t.UINT, t.DOUBLE, t.STRING, t.BYTES, t.TIMESTAMP, t.DURATION, t.TYPE)
} | {
    "list": t.list_of(t.DYN), "map": t.map_of(t.DYN, t.DYN), "null_type": t.NULL, "dyn": t.DYN,
    "optional_type": t.optional_of(t.DYN), "google.protobuf.Timestamp": t.TIMESTAMP,
    "google.protobuf.Duration": t.DURATION,
}  # fmt: skip


class Budget:
    """What evaluations may still cost together; `spend` raises CostExceeded when that is used up."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, cost: int) -> None:
        self.left -= cost
        if self.left < 0:
            raise CostExceeded


class Program:
    """A compiled expression. `node` is the checked tree, `type` its type, `cost` what the last evaluation cost."""

    __slots__ = ("_run", "_size", "_slots", "node", "source")

    def __init__(self, source: str, node: Node, variables: Mapping[str, Type]) -> None:
        planner = Planner(list(variables))
        self.source, self.node = source, node
        self._run = planner.plan(node)
        self._size = planner.size
        self._slots = planner.slots

    @property
    def type(self) -> Type:
        return self.node.type

    def evaluate(self, bindings: Mapping[str, Any], budget: Budget | None = None) -> Any:
        """The value for these variables. Raises EvalError, and CostExceeded, which `budget` may also do."""
        frame: list[Any] = [MISSING] * self._size
        frame[0] = 0
        for name, slot in self._slots.items():
            if name in bindings:
                frame[slot] = bindings[name]
        try:
            value = self._run(frame)
        except RecursionError:
            raise EvalError("expression recursion limit exceeded") from None
        finally:
            if budget is not None:
                budget.spend(frame[0])
        if frame[0] > PER_CALL_LIMIT:
            raise CostExceeded
        return value

    def cost(self, bindings: Mapping[str, Any]) -> int:
        """What evaluating costs."""
        budget = Budget(2**63)
        self.evaluate(bindings, budget)
        return 2**63 - budget.left


class Environment:
    """The variables, types and libraries that expressions of one place may use; immutable."""

    def __init__(
        self, variables: Mapping[str, Type], *libraries: Library, resolve_kind: ResolveKind = lambda name: None
    ) -> None:
        self.variables = dict(variables)
        self._functions = _joined(libraries)
        declared = {kind.name: kind for library in libraries for kind, _ in library.kinds.values()}
        self._kinds = {**_KINDS, **declared}
        self._resolve_kind = resolve_kind

    def extend(self, variables: Mapping[str, Type]) -> Environment:
        """The same with further variables."""
        twin = Environment.__new__(Environment)
        twin.variables = {**self.variables, **variables}
        twin._functions, twin._kinds, twin._resolve_kind = self._functions, self._kinds, self._resolve_kind
        return twin

    def compile(self, source: str, *results: Type) -> Program:
        """A program whose type is one of `results`, any where there are none. Raises CompileError."""
        node = parse(source)
        checker = Checker(self._functions, self._kinds, self.variables, self._resolve_kind)
        try:
            found = checker.check(node)
            issues = checker.issues or list(validate(node))
            if issues:
                raise CompileError(source, issues)
            if results and not any(found == each for each in results):
                raise TypeMismatch(f"{_must_be(results)} but got {found}")
            return Program(source, node, self.variables)
        except RecursionError:
            raise CompileError(source, [Issue(0, "expression recursion limit exceeded: 250")]) from None


def _must_be(results: Iterable[Type]) -> str:
    names = [str(each) for each in results]
    if len(names) == 1:
        return f"must evaluate to {names[0]}"
    return f"must evaluate to one of [{' '.join(names)}]"


def _joined(libraries: Iterable[Library]) -> dict[str, list[Overload]]:
    found: dict[str, list[Overload]] = {}
    for library in (OPERATORS, STANDARD, *libraries):
        for name, overloads in library.functions.items():
            found.setdefault(name, []).extend(overloads)
    return found
