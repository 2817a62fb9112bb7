"""Closures for calls: logic that absorbs errors, functions whose overload is known, and functions that must look.

An argument whose type the checker knows needs no look at run time: the schema has vouched for the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tiphys.api.cel.ast import Call
from tiphys.api.cel.costs import BY_RESULT
from tiphys.api.cel.declare import Overload, RuntimeCost
from tiphys.api.cel.errors import CostExceeded, EvalError
from tiphys.api.cel.types import Type

Frame = list[Any]
Run = Callable[[Frame], Any]

PER_CALL_LIMIT = 1_000_000
_UNKNOWN = frozenset({"dyn", "error", "param"})


def all_of(terms: list[Run]) -> Run:
    """`a && b`: false wins over an error, wherever it stands."""
    return _decided(terms, by=False)


def any_of(terms: list[Run]) -> Run:
    """`a || b`: true wins over an error, wherever it stands."""
    return _decided(terms, by=True)


def _decided(terms: list[Run], *, by: bool) -> Run:
    other = not by

    def junction(frame: Frame) -> Any:
        failure: EvalError | None = None
        for term in terms:
            try:
                value = term(frame)
            except EvalError as error:
                failure = failure or error
                continue
            if value is by:
                return by
            if value is not other:
                failure = failure or EvalError("no such overload")
        if failure is not None:
            raise failure
        return other

    return junction


def plan(node: Call, kinds: Sequence[Type], args: list[Run]) -> Run:
    """A call of one of `node.overloads` with the planned arguments."""
    overloads = node.overloads
    cost = cost_of(node.function, overloads)
    if len(overloads) == 1:
        only = overloads[0]
        guarded = any(
            runtime is not None and kind.kind in _UNKNOWN for runtime, kind in zip(only.runtime, kinds, strict=True)
        )
        if not guarded:
            return _direct(only.run, args, cost)
    if not overloads:
        raise EvalError("no such overload")
    if len(args) == 2:
        return _direct(_Dispatch(overloads), args, cost)
    return _direct(_chooser(overloads), args, cost)


def cost_of(function: str, overloads: Sequence[Overload]) -> RuntimeCost | None:
    """What a call costs, None for one unit. A call that may be several overloads is cheap, unless all cost alike."""
    if len(overloads) == 1 or function in _ALWAYS:
        return overloads[0].cost
    return None


# Functions whose cost goes by their name, whichever overload is meant.
_ALWAYS = frozenset({
    "_==_", "_!=_", "charAt", "check", "containsCIDR", "containsIP", "find", "findAll", "indexOf", "ip", "isSorted",
    "join", "lastIndexOf", "max", "min", "replace", "split", "substring", "sum", "validate",
})  # fmt: skip


def _direct(run: Callable[..., Any], args: list[Run], cost: RuntimeCost | None) -> Run:
    if cost is not None:
        return _costly(run, args, cost)
    if len(args) == 2:
        one, two = args

        def binary(frame: Frame) -> Any:
            try:
                first = one(frame)
                second = two(frame)
            finally:
                frame[0] += 1
            return run(first, second)

        return binary
    if len(args) == 1:
        only = args[0]

        def unary(frame: Frame) -> Any:
            value = only(frame)
            frame[0] += 1
            return run(value)

        return unary

    def call(frame: Frame) -> Any:
        values = [each(frame) for each in args]
        frame[0] += 1
        return run(*values)

    return call


def _costly(run: Callable[..., Any], args: list[Run], cost: RuntimeCost) -> Run:
    if cost in BY_RESULT:
        return _judged(run, args, cost)
    if len(args) == 2:
        one, two = args

        def binary(frame: Frame) -> Any:
            try:
                values = (one(frame), two(frame))
            except EvalError:
                frame[0] += 1
                raise
            frame[0] += cost(values, None)
            if frame[0] > PER_CALL_LIMIT:
                raise CostExceeded
            return run(*values)

        return binary

    def call(frame: Frame) -> Any:
        values = tuple([each(frame) for each in args])
        frame[0] += cost(values, None)
        if frame[0] > PER_CALL_LIMIT:
            raise CostExceeded
        return run(*values)

    return call


def _judged(run: Callable[..., Any], args: list[Run], cost: RuntimeCost) -> Run:
    def call(frame: Frame) -> Any:
        values = tuple([each(frame) for each in args])
        result = run(*values)
        frame[0] += cost(values, result)
        if frame[0] > PER_CALL_LIMIT:
            raise CostExceeded
        return result

    return call


class _Dispatch:
    """A function of two arguments that finds its overload by their types, and remembers."""

    __slots__ = ("_found", "_overloads")

    def __init__(self, overloads: Sequence[Overload]) -> None:
        self._overloads = overloads
        self._found: dict[tuple[type, type], Callable[..., Any]] = {}

    def __call__(self, one: Any, two: Any) -> Any:
        found = self._found.get((type(one), type(two)))
        if found is None:
            found = self._found[type(one), type(two)] = _choose(self._overloads, (one, two))
        return found(one, two)


def _chooser(overloads: Sequence[Overload]) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        return _choose(overloads, args)(*args)

    return run


def _choose(overloads: Sequence[Overload], args: tuple[Any, ...]) -> Callable[..., Any]:
    for overload in overloads:
        if overload.accepts(args):
            return overload.run
    raise EvalError("no such overload")
