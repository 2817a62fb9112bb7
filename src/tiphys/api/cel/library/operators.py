"""Operators: arithmetic in 64 bits, comparison, membership, access by index."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from tiphys.api.cel import costs
from tiphys.api.cel.declare import Library
from tiphys.api.cel.errors import EvalError
from tiphys.api.cel.temporal import checked_duration, checked_timestamp
from tiphys.api.cel.values import (
    INT_MAX,
    INT_MIN,
    NONE,
    UINT_MAX,
    Duration,
    Optional,
    Timestamp,
    Uint,
    compare,
    concat,
    contains,
    equals,
    type_of,
)

OPERATORS = Library()
_add = OPERATORS.add


def _int(run: Callable[[int, int], int]) -> Callable[[int, int], int]:
    def checked(one: int, two: int) -> int:
        result = run(one, two)
        if INT_MIN <= result <= INT_MAX:
            return result
        raise EvalError("integer overflow")

    return checked


def _uint(run: Callable[[int, int], int]) -> Callable[[int, int], int]:
    def checked(one: int, two: int) -> int:
        result = run(int(one), int(two))
        if 0 <= result <= UINT_MAX:
            return Uint(result)
        raise EvalError("unsigned integer overflow")

    return checked


def _bounded(run: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def checked(one: Any, two: Any) -> Any:
        costs.bound(len(one) + len(two))
        return run(one, two)

    return checked


def _divide(one: int, two: int) -> int:
    if two == 0:
        raise EvalError("division by zero")
    quotient = abs(one) // abs(two)
    return quotient if (one < 0) == (two < 0) else -quotient


def _modulo(one: int, two: int) -> int:
    if two == 0:
        raise EvalError("modulus by zero")
    rest = abs(one) % abs(two)
    return -rest if one < 0 else rest


def _divide_floats(one: float, two: float) -> float:
    if two == 0:
        if one == 0 or one != one:
            return float("nan")
        return float("inf") if (one > 0) == (str(two)[0] != "-") else float("-inf")
    return one / two


def _multiply_floats(one: float, two: float) -> float:
    return one * two


def _negate(value: int) -> int:
    if value == INT_MIN:
        raise EvalError("integer overflow")
    return -value


def _declare_arithmetic() -> None:
    for kind, wrap, suffix in (("int", _int, "int64"), ("uint", _uint, "uint64")):
        for symbol, name, run in (
            ("+", "add", operator.add), ("-", "subtract", operator.sub), ("*", "multiply", operator.mul),
            ("/", "divide", _divide), ("%", "modulo", _modulo),
        ):  # fmt: skip
            _add(f"{name}_{suffix}", f"_{symbol}_({kind}, {kind}) {kind}", wrap(run))
    for symbol, name, floating in (
        ("+", "add", operator.add), ("-", "subtract", operator.sub), ("*", "multiply", _multiply_floats),
        ("/", "divide", _divide_floats),
    ):  # fmt: skip
        _add(f"{name}_double", f"_{symbol}_(double, double) double", floating)
    _add("add_string", "_+_(string, string) string", _bounded(operator.add), costs.both)
    _add("add_bytes", "_+_(bytes, bytes) bytes", _bounded(operator.add), costs.both)
    _add("add_list", "_+_(list(A), list(A)) list(A)", _bounded(concat))
    _add("negate_int64", "-_(int) int", _negate)
    _add("negate_double", "-_(double) double", operator.neg)
    _add("logical_not", "!_(bool) bool", operator.not_)


def _add_time(one: Timestamp, two: Duration) -> Timestamp:
    return checked_timestamp(one.ns + two.ns)


def _declare_time() -> None:
    _add(
        "add_duration_duration", "_+_(duration, duration) duration", lambda one, two: checked_duration(one.ns + two.ns)
    )
    _add("add_duration_timestamp", "_+_(duration, timestamp) timestamp", lambda one, two: _add_time(two, one))
    _add("add_timestamp_duration", "_+_(timestamp, duration) timestamp", _add_time)
    for one, two, result in (("duration", "duration", "duration"), ("timestamp", "timestamp", "duration")):
        _add(f"subtract_{one}_{two}", f"_-_({one}, {two}) {result}", lambda a, b: checked_duration(a.ns - b.ns))
    _add(
        "subtract_timestamp_duration",
        "_-_(timestamp, duration) timestamp",
        lambda one, two: checked_timestamp(one.ns - two.ns),
    )


def _ordered(test: Callable[[int, int], bool]) -> Callable[[Any, Any], bool]:
    return lambda one, two: test(compare(one, two), 0)


def _declare_comparison() -> None:
    names = {"int": "int64", "uint": "uint64", "double": "double"}
    for symbol, name, test in (
        ("<", "less", operator.lt), ("<=", "less_equals", operator.le), (">", "greater", operator.gt),
        (">=", "greater_equals", operator.ge),
    ):  # fmt: skip
        for kind in ("bool", "int", "uint", "string", "bytes", "timestamp", "duration"):
            cost = costs.smaller if kind in ("string", "bytes") else None
            _add(f"{name}_{names.get(kind, kind)}", f"_{symbol}_({kind}, {kind}) bool", test, cost)
        for one in names:
            for two in names:
                if one != two or one == "double":
                    overload = f"{name}_{names[one]}" if one == two else f"{name}_{names[one]}_{names[two]}"
                    _add(overload, f"_{symbol}_({one}, {two}) bool", _ordered(test))


def _not_equal(one: Any, two: Any) -> bool:
    return not equals(one, two)


def index_list(items: list[Any], index: Any) -> Any:
    if type(index) is not int:
        if not (type(index) is Uint or (type(index) is float and index.is_integer())):
            raise EvalError(f"unsupported index type '{type_of(index)}' in list")
        index = int(index)
    if 0 <= index < len(items):
        return items[index]
    raise EvalError(f"index out of bounds: {index}")


def index_map(entries: dict[Any, Any], key: Any) -> Any:
    try:
        return entries[key]
    except (KeyError, TypeError):
        raise EvalError(f"no such key: {key}") from None


def _present(container: Any, key: Any) -> Optional:
    """`container[?key]`: an optional of what is there."""
    if type(container) is Optional:
        return _present(container.value, key) if container.present else NONE
    try:
        return Optional((index_list if isinstance(container, list) else index_map)(container, key))
    except EvalError:
        return NONE


def _in_map(key: Any, entries: dict[Any, Any]) -> bool:
    try:
        return key in entries
    except TypeError:
        return False


def _declare_access() -> None:
    _add("index_list", "_[_](list(A), int) A", index_list)
    _add("index_map", "_[_](map(A, B), A) B", index_map)
    _add("optional_list_index_int", "_[_](optional(list(A)), int) optional(A)", _present)
    _add("optional_map_index_value", "_[_](optional(map(A, B)), A) optional(B)", _present)
    _add("list_optindex_optional_int", "_[?_](list(A), int) optional(A)", _present)
    _add("optional_list_optindex_optional_int", "_[?_](optional(list(A)), int) optional(A)", _present)
    _add("map_optindex_optional_value", "_[?_](map(A, B), A) optional(B)", _present)
    _add("optional_map_optindex_optional_value", "_[?_](optional(map(A, B)), A) optional(B)", _present)
    _add("select_optional_field", "_?._(dyn, string) optional(A)", _present)
    _add("in_list", "@in(A, list(A)) bool", lambda value, items: contains(items, value), costs.second)
    _add("in_map", "@in(A, map(A, B)) bool", _in_map)
    _add("equals", "_==_(A, A) bool", equals, costs.smaller)
    _add("not_equals", "_!=_(A, A) bool", _not_equal, costs.smaller)
    _add("conditional", "_?_:_(bool, A, A) A", lambda test, one, two: one if test else two)
    _add("logical_and", "_&&_(bool, bool) bool", lambda one, two: one and two)
    _add("logical_or", "_||_(bool, bool) bool", lambda one, two: one or two)
    _add("not_strictly_false", "@not_strictly_false(bool) bool", lambda value: value is not False)


_declare_arithmetic()
_declare_time()
_declare_comparison()
_declare_access()
