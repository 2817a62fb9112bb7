"""Values at run time. JSON values stand for themselves; what JSON cannot say has a class here.

int, float, str, bytes, bool, None, list and dict are Python's own; `Uint` is an int that says so. Times and durations
count nanoseconds. Sets and list-maps of Kubernetes are lists that compare and concatenate in their own way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tiphys.api.cel import types as t
from tiphys.api.cel.errors import EvalError

INT_MIN, INT_MAX, UINT_MAX = -(2**63), 2**63 - 1, 2**64 - 1


class Uint(int):
    """An unsigned integer of 64 bits."""

    __slots__ = ()


class _Nanoseconds:
    __slots__ = ("ns",)

    def __init__(self, ns: int) -> None:
        self.ns = ns

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.ns == self.ns

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.ns))

    def __lt__(self, other: _Nanoseconds) -> bool:
        return self.ns < other.ns

    def __le__(self, other: _Nanoseconds) -> bool:
        return self.ns <= other.ns

    def __gt__(self, other: _Nanoseconds) -> bool:
        return self.ns > other.ns

    def __ge__(self, other: _Nanoseconds) -> bool:
        return self.ns >= other.ns


class Duration(_Nanoseconds):
    """A span of time."""

    __slots__ = ()


class Timestamp(_Nanoseconds):
    """A moment, counted from 1970 in UTC. `offset`, in seconds, is only how it is written."""

    __slots__ = ("offset",)

    def __init__(self, ns: int, offset: int = 0) -> None:
        super().__init__(ns)
        self.offset = offset


# 0001-01-01T00:00:00Z, which is Go's zero.
FIRST_SECOND = -62_135_596_800


class Optional:
    """A value that may be missing; `NONE` is the one that is."""

    __slots__ = ("present", "value")

    def __init__(self, value: Any, *, present: bool = True) -> None:
        self.value, self.present = value, present


NONE = Optional(None, present=False)


class SetList(list[Any]):
    """`x-kubernetes-list-type: set`: equal in any order; `+` adds what is not there yet."""

    __slots__ = ()


class MapList(list[Any]):
    """`x-kubernetes-list-type: map`: equal in any order of the keys; `+` replaces what has the same keys."""

    __slots__ = ("keys",)

    def __init__(self, items: Sequence[Any], keys: tuple[str, ...]) -> None:
        super().__init__(items)
        self.keys = keys

    def key_of(self, item: Any) -> tuple[Any, ...]:
        return tuple(item.get(name) for name in self.keys) if isinstance(item, dict) else (item,)


class Opaque:
    """Base of the values that only libraries know: quantities, addresses, URLs. Subclasses define equality."""

    __slots__ = ()
    cel_type: t.Type = t.DYN


class Typed(dict[str, Any]):
    """An object made by an expression, as `Object{...}`: a dict that knows its type."""

    __slots__ = ("cel_type",)

    def __init__(self, cel_type: t.Type, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.cel_type = cel_type


_TYPES: dict[type, t.Type] = {
    bool: t.BOOL, int: t.INT, Uint: t.UINT, float: t.DOUBLE, str: t.STRING, bytes: t.BYTES, type(None): t.NULL,
    list: t.LIST, SetList: t.LIST, MapList: t.LIST, dict: t.MAP, Duration: t.DURATION, Timestamp: t.TIMESTAMP,
    t.Type: t.TYPE, t.Struct: t.TYPE, Optional: t.optional_of(t.DYN),
}  # fmt: skip
_NUMBERS = frozenset({int, Uint, float})
_ORDERED = frozenset({int, Uint, float, str, bytes, bool, Duration, Timestamp})
_EXACT = frozenset({int, Uint, str, bytes, bool, Duration, Timestamp, float, type(None)})


def type_of(value: Any) -> t.Type:
    """The type of a value as `type(x)` has it."""
    found = _TYPES.get(type(value))
    if found is not None:
        return found
    kind: t.Type | None = getattr(value, "cel_type", None)
    if kind is not None:
        return kind
    return t.MAP if isinstance(value, dict) else t.LIST if isinstance(value, list) else t.DYN


def equals(one: Any, other: Any) -> bool:
    """`==` of any two values: numbers compare across their types, other types differ."""
    kind, theirs = type(one), type(other)
    if kind is theirs and kind in _EXACT:
        return bool(one == other)
    if kind in _NUMBERS and theirs in _NUMBERS:
        return bool(one == other)
    if isinstance(one, dict):
        return isinstance(other, dict) and _maps_equal(one, other)
    if isinstance(one, list):
        return isinstance(other, list) and _lists_equal(one, other)
    if kind is Optional:
        if theirs is not Optional or one.present != other.present:
            return False
        return not one.present or equals(one.value, other.value)
    if kind is not theirs and not (isinstance(one, t.Type) and isinstance(other, t.Type)):
        return False
    return bool(same_type(one, other) if isinstance(one, t.Type) else one == other)


def same_type(one: t.Type, other: t.Type) -> bool:
    return one.kind == other.kind and one.name == other.name


def _maps_equal(one: dict[Any, Any], other: dict[Any, Any]) -> bool:
    if len(one) != len(other):
        return False
    missing = object()
    for key, value in one.items():
        theirs = other.get(key, missing)
        if theirs is missing or not equals(value, theirs):
            return False
    return True


def _lists_equal(one: list[Any], other: list[Any]) -> bool:
    if len(one) != len(other):
        return False
    if type(one) is SetList or type(other) is SetList:
        return all(contains(other, item) for item in one)
    ordered = one if type(one) is MapList else other if type(other) is MapList else None
    if type(ordered) is MapList:
        theirs = {ordered.key_of(item): item for item in other}
        return all(ordered.key_of(item) in theirs and equals(item, theirs[ordered.key_of(item)]) for item in one)
    return all(map(equals, one, other))


def contains(items: list[Any], value: Any) -> bool:
    """Whether the list holds an equal value."""
    if type(value) is str:
        return value in items
    return any(equals(value, item) for item in items)


def concat(one: list[Any], other: list[Any]) -> list[Any]:
    if type(one) is SetList:
        return SetList([*one, *(item for item in other if not contains(one, item))])
    if type(one) is MapList:
        replaced = {one.key_of(item): item for item in other}
        kept = [replaced.pop(one.key_of(item), item) for item in one]
        return MapList([*kept, *replaced.values()], one.keys)
    return [*one, *other]


def compare(one: Any, other: Any) -> int:
    """-1, 0 or 1. Raises EvalError for values that have no order."""
    kind, theirs = type(one), type(other)
    if not ((kind is theirs and kind in _ORDERED) or (kind in _NUMBERS and theirs in _NUMBERS)):
        raise EvalError("no such overload")
    if one != one or other != other:
        raise EvalError("NaN values cannot be ordered")
    return -1 if one < other else 1 if one > other else 0


def size(value: Any) -> int:
    """How large a value counts for its cost: the length of what has one, else 1."""
    kind = type(value)
    if kind in (str, bytes) or isinstance(value, (list, dict)):
        return len(value)
    if kind is Optional and value.present:
        return size(value.value)
    sized = getattr(value, "cel_size", None)
    return 1 if sized is None else int(sized)


def is_zero(value: Any) -> bool:
    """Whether a value is the one that a field of its type has when nobody set it."""
    if value is None or value is False:
        return True
    if isinstance(value, _Nanoseconds):
        return value.ns == (0 if isinstance(value, Duration) else FIRST_SECOND * 10**9)
    if isinstance(value, (int, float, str, bytes, list, dict)):
        return not value
    return isinstance(value, Optional) and not value.present


def key(value: Any) -> Any:
    """A value as the key of a map. Raises EvalError for what cannot be one."""
    if type(value) in (str, int, bool, Uint):
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    raise EvalError(f"unsupported key type: {type_of(value)}")
