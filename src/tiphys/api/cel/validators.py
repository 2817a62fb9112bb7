"""What is wrong with a well-typed expression before it runs: literals that cannot be what they are said to be.

Source: cel-go's `cel/validator.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tiphys.api.cel import ast
from tiphys.api.cel.errors import EvalError, Issue
from tiphys.api.cel.regexes import compiled
from tiphys.api.cel.temporal import SECOND, checked_timestamp, parse_duration, parse_timestamp


def validate(node: ast.Node) -> Iterator[Issue]:
    """Complaints about the literals that a tree gives to `duration`, `timestamp` and `matches`."""
    pending = [node]
    while pending:
        each = pending.pop()
        if isinstance(each, ast.Call):
            yield from _call(each)
        pending.extend(children(each))


def _call(node: ast.Call) -> Iterator[Issue]:
    checked = _LITERALS.get(node.function)
    if checked is None or not node.args:
        return
    check, position = checked
    arg = node.args[-1 if position < 0 else position]
    if not isinstance(arg, ast.Literal):
        return
    try:
        if type(arg.value) is str:
            check(arg.value)
        elif type(arg.value) is int and node.function == "timestamp":
            checked_timestamp(arg.value * SECOND)
    except (ValueError, EvalError):
        yield Issue(arg.at, f"invalid {node.function} argument")


_LITERALS: dict[str, tuple[Callable[[str], Any], int]] = {
    "duration": (parse_duration, 0), "timestamp": (parse_timestamp, 0), "matches": (compiled, -1),
}  # fmt: skip


def children(node: ast.Node) -> list[ast.Node]:
    """The nodes right below one, as the author wrote them."""
    if isinstance(node, ast.Call):
        return [*([node.target] if node.target is not None else []), *node.args]
    if isinstance(node, ast.Select):
        return [node.operand]
    if isinstance(node, ast.ListNode):
        return list(node.elements)
    if isinstance(node, ast.MapNode):
        return [each for entry in node.entries for each in (entry.key, entry.value)]
    if isinstance(node, ast.StructNode):
        return [field.value for field in node.fields]
    if isinstance(node, ast.Comprehension):
        parts = [node.range, node.predicate, node.transform]
        if node.macro == "bind":
            parts = [node.initial, node.result]
        return [each for each in parts if each is not None]
    return []
