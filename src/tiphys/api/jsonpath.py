"""JSONPath as Kubernetes speaks it: the paths of printer columns, `kubectl -o jsonpath` and `--for=jsonpath`.

`compile_path(".status.conditions[?(@.type=='Ready')].status")` gives a function from an object to the list of what is
found. Supported: fields (dotted, quoted, escaped), indexes and slices, unions, wildcards, recursive descent, filters.
Source: https://kubernetes.io/docs/reference/kubectl/jsonpath/
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

Step = Callable[[Any, Any], Iterable[Any]]
Path = Callable[[Any], list[Any]]

_TOKEN = re.compile(
    r"""(?P<descend>\.\.)|(?P<wild>\.?\*)|\.(?P<field>(?:\\.|[^.\[\]\\])+)|\[(?P<inside>(?:'[^']*'|"[^"]*"|[^\]'"])*)\]"""
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_FILTER = re.compile(r"^\?\(\s*(?P<left>.+?)\s*(?:(?P<op>==|!=|<=|>=|<|>)\s*(?P<right>.+?)\s*)?\)$")
_SLICE = re.compile(r"^(-?\d*):(-?\d*)(?::(-?\d+))?$")


class PathError(ValueError):
    """The expression is not a JSONPath; the message names it."""


@lru_cache(maxsize=512)
def compile_path(text: str) -> Path:
    """Raises PathError. A leading `$` or `@` and a missing leading dot are accepted, as upstream accepts them."""
    steps = list(_steps(text))

    def find(root: Any) -> list[Any]:
        found: list[Any] = [root]
        for step in steps:
            found = [child for value in found for child in step(value, root)]
        return found

    return find


def _steps(text: str) -> Iterator[Step]:
    rest = text.strip().removeprefix("$").removeprefix("@")
    if rest and rest[0] not in ".[":
        rest = "." + rest
    if rest == ".":
        return
    at = 0
    while at < len(rest):
        match = _TOKEN.match(rest, at)
        if match is None:
            raise PathError(f"{text!r} is not a JSONPath: cannot read {rest[at:]!r}")
        at = match.end()
        if match["descend"]:
            yield _descend
            if at < len(rest) and rest[at] not in ".[":
                rest = rest[:at] + "." + rest[at:]
        elif match["wild"]:
            yield _children
        elif match["field"] is not None:
            yield _field(re.sub(r"\\(.)", r"\1", match["field"]))
        else:
            yield _bracket(match["inside"].strip(), text)


def _field(name: str) -> Step:
    return lambda value, root: [value[name]] if isinstance(value, dict) and name in value else []


def _children(value: Any, root: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _descend(value: Any, root: Any) -> Iterator[Any]:
    yield value
    for child in _children(value, root):
        yield from _descend(child, root)


def _bracket(inside: str, text: str) -> Step:
    if inside == "*":
        return _children
    if inside.startswith("?"):
        return _filtered(inside, text)
    match = _SLICE.match(inside)
    if match:
        start, stop, step = (int(part) if part else None for part in match.groups())
        return lambda value, root: value[slice(start, stop, step)] if isinstance(value, list) else []
    parts = [_element(part.strip(), text) for part in re.findall(r"'[^']*'|\"[^\"]*\"|[^,]+", inside)]
    return lambda value, root: [found for part in parts for found in part(value, root)]


def _element(part: str, text: str) -> Step:
    if part[:1] in "'\"":
        return _field(part[1:-1])
    if re.fullmatch(r"-?\d+", part):
        index = int(part)
        return lambda value, root: value[index:][:1] if isinstance(value, list) and -len(value) <= index else []
    raise PathError(f"{text!r} is not a JSONPath: invalid array index {part!r}")


def _filtered(inside: str, text: str) -> Step:
    match = _FILTER.match(inside)
    if match is None:
        raise PathError(f"{text!r} is not a JSONPath: cannot read the filter {inside!r}")
    left = _operand(match["left"])
    if match["op"] is None:
        return lambda value, root: [item for item in _children(value, root) if left(item)]
    right, compare = _operand(match["right"]), _COMPARE[match["op"]]

    def keep(item: Any) -> bool:
        one, other = left(item), right(item)
        try:
            return bool(one and other and compare(one[0], other[0]))
        except TypeError:
            return False

    return lambda value, root: [item for item in _children(value, root) if keep(item)]


def _operand(text: str) -> Path:
    """A path relative to the item, or a constant, as a function to a list of at most one value that counts."""
    if text[:1] in "@$":
        return compile_path(text)
    if text[:1] in "'\"":
        constant: Any = text[1:-1]
    elif text in ("true", "false"):
        constant = text == "true"
    else:
        try:
            constant = float(text) if "." in text else int(text)
        except ValueError:
            raise PathError(f"{text!r} in a filter is neither a path nor a constant") from None
    return lambda item: [constant]
