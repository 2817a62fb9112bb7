"""What calls cost at run time, where it is more than one unit. Units are cel-go's.

Source: cel-go's `interpreter/runtimecost.go` and upstream's `apiserver/pkg/cel/library/cost.go`.
"""

from __future__ import annotations

from typing import Any

from tiphys.api.cel.errors import CostExceeded
from tiphys.api.cel.values import Opaque, size

Args = tuple[Any, ...]

TRAVERSAL = 0.1


def tenth(count: int) -> int:
    """The cost of going over so many characters once."""
    return -(-count // 10)


def traverse(args: Args, _result: Any) -> int:
    return -(-size(args[0]) // 10)


def traverse_twice(args: Args, _result: Any) -> int:
    return -(-size(args[0]) // 5)


def traverse_result_twice(_args: Args, result: Any) -> int:
    return -(-size(result) // 5)


def made(_args: Args, result: Any) -> int:
    """A list that is made, by its length."""
    return 11 + size(result)


def smaller(args: Args, _result: Any) -> int:
    """Comparison stops where the shorter ends."""
    if isinstance(args[0], Opaque):
        return 1
    return -(-min(size(args[0]), size(args[1])) // 10)


def both(args: Args, _result: Any) -> int:
    return -(-(size(args[0]) + size(args[1])) // 10)


def product(args: Args, _result: Any) -> int:
    return tenth(size(args[0])) * tenth(size(args[1]))


def regex(args: Args, _result: Any) -> int:
    return tenth(1 + size(args[0])) * -(-size(args[1]) // 4)


def second(args: Args, _result: Any) -> int:
    return size(args[1])


def elements(args: Args, _result: Any) -> int:
    """One traversal of a whole tree of values."""
    return _tree(args[0])


def _tree(value: Any) -> int:
    if type(value) in (str, bytes):
        length = len(value.encode()) if type(value) is str else len(value)
        return int(length * TRAVERSAL)
    if isinstance(value, list):
        return sum(map(_tree, value))
    if isinstance(value, dict):
        return sum(_tree(key) + _tree(item) for key, item in value.items())
    return 1


# Costs that only the result tells; all others are known, and checked, before a call.
BY_RESULT = frozenset({traverse_result_twice, made})

# No text, and no list, may grow longer by an expression, whatever little it costs.
LONGEST = 2**23


def bound(length: int) -> None:
    """Raises CostExceeded for a value that is too long to be made."""
    if length > LONGEST:
        raise CostExceeded
