"""Lists, sets, optionals and maps beyond the language's own functions.

Source: upstream's `apiserver/pkg/cel/library/lists.go`; cel-go's `ext/lists.go` (version 3), `ext/sets.go`,
`ext/comprehensions.go` and the optional types of `cel/library.go`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key, partial
from itertools import pairwise
from typing import Any

from tiphys.api.cel import costs
from tiphys.api.cel.declare import Library
from tiphys.api.cel.errors import CostExceeded, EvalError
from tiphys.api.cel.library.operators import OPERATORS
from tiphys.api.cel.values import NONE, Duration, Optional, Uint, compare, contains, equals, is_zero, size

COLLECTIONS = Library()
_add = COLLECTIONS.add
_COMPARABLE = ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes")
_ZEROES = {"int": 0, "uint": Uint(0), "double": 0.0, "duration": Duration(0)}
_LONGEST = 1_000_000

_PLUS = {overload.params: overload.run for overload in OPERATORS.functions["_+_"]}


def _is_sorted(items: list[Any]) -> bool:
    return all(compare(one, two) <= 0 for one, two in pairwise(items))


def _sum(zero: Any, plus: Callable[[Any, Any], Any], items: list[Any]) -> Any:
    total = zero
    for item in items:
        total = plus(total, item)
    return total


def _extreme(name: str, sign: int, items: list[Any]) -> Any:
    if not items:
        raise EvalError(f"{name} called on empty list")
    best = items[0]
    for item in items[1:]:
        if compare(item, best) * sign > 0:
            best = item
    return best


def _index(items: list[Any], value: Any) -> int:
    return next((index for index, item in enumerate(items) if equals(item, value)), -1)


def _last_index(items: list[Any], value: Any) -> int:
    found = _index(items[::-1], value)
    return len(items) - 1 - found if found >= 0 else -1


def _slice(items: list[Any], start: int, end: int) -> list[Any]:
    where = f"cannot slice({start}, {end})"
    if start < 0 or end < 0:
        raise EvalError(f"{where}, negative indexes not supported")
    if start > end:
        raise EvalError(f"{where}, start index must be less than or equal to end index")
    if len(items) < end:
        raise EvalError(f"{where}, list is length {len(items)}")
    return list(items[start:end])


def _flatten(items: list[Any], depth: int = 1) -> list[Any]:
    if depth < 0:
        raise EvalError("level must be non-negative")
    found: list[Any] = []
    for item in items:
        if isinstance(item, list) and depth:
            found.extend(_flatten(item, depth - 1))
        else:
            found.append(item)
    return found


def _sort(items: list[Any], keys: list[Any] | None = None) -> list[Any]:
    keys = items if keys is None else keys
    if any(type(key) is not type(keys[0]) for key in keys):
        raise EvalError("list elements must have the same type")
    ordered = cmp_to_key(compare)
    return [items[index] for index in sorted(range(len(items)), key=lambda index: ordered(keys[index]))]


def _range(count: int) -> list[int]:
    if count > _LONGEST:
        raise CostExceeded
    return list(range(count))


def _distinct(items: list[Any]) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if not contains(found, item):
            found.append(item)
    return found


def _flattened(args: costs.Args, _result: Any) -> int:
    return 11 + size(args[0]) * (args[1] if len(args) == 2 else 1)


def _compared(position: int, args: costs.Args, _result: Any) -> int:
    """Every element against every other."""
    items = args[position]
    square = len(items) ** 2
    return 11 + (int(square * 2.1) if items and type(items[0]) in (str, bytes) else square * 2)


def _declare_lists() -> None:
    for kind in _COMPARABLE:
        of = f"list<{kind}>"
        _add(f"list_{kind}_is_sorted_bool", f"{of}.isSorted() bool", _is_sorted, costs.elements)
        _add(f"list_{kind}_max_{kind}", f"{of}.max() {kind}", partial(_extreme, "max", 1), costs.elements)
        _add(f"list_{kind}_min_{kind}", f"{of}.min() {kind}", partial(_extreme, "min", -1), costs.elements)
        _add(f"list_{kind}_sort", f"{of}.sort() list({kind})", _sort, partial(_compared, 0))
        text = f"list<T>.@sortByAssociatedKeys(list({kind})) list(T)"
        _add(f"list_{kind}_sortByAssociatedKeys", text, _sort, partial(_compared, 1))
        if kind in _ZEROES:
            added = _add(f"list_{kind}_sum_{kind}", f"{of}.sum() {kind}", len, costs.elements)
            added.run = partial(_sum, _ZEROES[kind], _PLUS[added.result, added.result])
    _add("list_a_index_of_int", "list<A>.indexOf(A) int", _index, costs.elements)
    _add("list_a_last_index_of_int", "list<A>.lastIndexOf(A) int", _last_index, costs.elements)
    _add("list_slice", "list<T>.slice(int, int) list(T)", _slice, costs.made)
    _add("list_flatten", "list<list<T>>.flatten() list(T)", _flatten, _flattened)
    _add("list_flatten_int", "list<dyn>.flatten(int) list(dyn)", _flatten, _flattened)
    _add("lists_range", "lists.range(int) list(int)", _range, costs.made)
    _add("list_reverse", "list<T>.reverse() list(T)", lambda items: items[::-1], costs.made)
    _add("list_distinct", "list<T>.distinct() list(T)", _distinct, partial(_compared, 0))


def _sets(factor: int, args: costs.Args, _result: Any) -> int:
    return 1 + len(args[0]) * len(args[1]) * factor


def _contains_all(items: list[Any], others: list[Any]) -> bool:
    return all(contains(items, other) for other in others)


def _declare_sets() -> None:
    lists = "(list(T), list(T)) bool"
    once, twice = partial(_sets, 1), partial(_sets, 2)
    _add("list_sets_contains_list", f"sets.contains{lists}", _contains_all, once)
    _add(
        "list_sets_equivalent_list",
        f"sets.equivalent{lists}",
        lambda one, two: _contains_all(one, two) and _contains_all(two, one),
        twice,
    )
    _add(
        "list_sets_intersects_list",
        f"sets.intersects{lists}",
        lambda one, two: any(contains(two, item) for item in one),
        once,
    )


def _value(optional: Optional) -> Any:
    if not optional.present:
        raise EvalError("optional.none() dereference")
    return optional.value


def _unwrap(items: list[Any]) -> list[Any]:
    return [item.value for item in items if item.present]


def _insert(entries: dict[Any, Any], key: Any, value: Any) -> dict[Any, Any]:
    return {**entries, key: value}


def _declare_optionals() -> None:
    _add("optional_of", "optional.of(V) optional(V)", Optional)
    text = "optional.ofNonZeroValue(V) optional(V)"
    _add("optional_ofNonZeroValue", text, lambda value: NONE if is_zero(value) else Optional(value))
    _add("optional_none", "optional.none() optional(V)", lambda: NONE)
    _add("optional_value", "optional_type<V>.value() V", _value)
    _add("optional_hasValue", "optional_type<V>.hasValue() bool", lambda optional: optional.present)
    _add("optional_or_optional", "optional_type<V>.or(optional(V)) optional(V)", lambda one, two: one)
    _add("optional_orValue_value", "optional_type<V>.orValue(V) V", lambda one, two: two)
    _add("list_first", "list<V>.first() optional(V)", lambda items: Optional(items[0]) if items else NONE)
    _add("list_last", "list<V>.last() optional(V)", lambda items: Optional(items[-1]) if items else NONE)
    _add("optional_unwrap", "optional.unwrap(list(optional(V))) list(V)", _unwrap)
    _add("optional_unwrapOpt", "list<optional<V>>.unwrapOpt() list(V)", _unwrap)
    _add("@mapInsert_map_key_value", "cel.@mapInsert(map(K, V), K, V) map(K, V)", _insert)
    _add("@mapInsert_map_map", "cel.@mapInsert(map(K, V), map(K, V)) map(K, V)", lambda one, two: {**one, **two})


_declare_lists()
_declare_sets()
_declare_optionals()
