"""Declaring functions: a signature as text, what it does, and what it costs.

A signature reads `NAME(ARGS) RESULT`, a method `TYPE.NAME(ARGS) RESULT`; single capitals are type parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tiphys.api.cel import types as t
from tiphys.api.cel.errors import EvalError
from tiphys.api.cel.values import (
    Duration,
    MapList,
    Optional,
    SetList,
    Timestamp,
    Typed,
    Uint,
)

# Cost of a call at run time, from the arguments (receiver first) and the result.
RuntimeCost = Callable[[tuple[Any, ...], Any], int]

_NAMED = {
    "bool": t.BOOL, "int": t.INT, "uint": t.UINT, "double": t.DOUBLE, "string": t.STRING, "bytes": t.BYTES,
    "null": t.NULL, "dyn": t.DYN, "timestamp": t.TIMESTAMP, "duration": t.DURATION, "type": t.TYPE,
}  # fmt: skip
_WORD = re.compile(r"[A-Za-z_@][\w.@]*|[(),]")


class Overload:
    """One signature of a function. `run` takes the arguments, the receiver first, and returns the value."""

    __slots__ = ("cost", "id", "member", "name", "params", "result", "run", "runtime", "variables")

    def __init__(self, overload_id: str, name: str, run: Callable[..., Any], *, member: bool) -> None:
        self.id, self.name, self.run, self.member = overload_id, name, run, member
        self.params: tuple[t.Type, ...] = ()
        self.result: t.Type = t.DYN
        self.variables: tuple[str, ...] = ()
        self.cost: RuntimeCost | None = None
        # What each argument must be in Python; None where anything goes.
        self.runtime: tuple[tuple[type, ...] | None, ...] = ()

    def accepts(self, args: tuple[Any, ...]) -> bool:
        """Whether the values fit, for arguments whose types were not known before."""
        if len(args) != len(self.runtime):
            return False
        for value, kinds in zip(args, self.runtime, strict=True):
            if kinds is not None and type(value) not in kinds:
                return False
        return True

    def __repr__(self) -> str:
        return f"Overload({self.id})"


class Library:
    """Functions by name, the opaque types that signatures may name, and the constants (types) that they bring."""

    def __init__(self, kinds: Mapping[str, tuple[t.Type, type]] | None = None) -> None:
        self.functions: dict[str, list[Overload]] = {}
        self.kinds = dict(kinds or {})

    def add(self, overload_id: str, text: str, run: Callable[..., Any], cost: RuntimeCost | None = None) -> Overload:
        """Declare one overload, as `add("contains_string", "string.contains(string) bool", str.__contains__)`."""
        head, _, rest = text.partition("(")
        args, result = _split(rest)
        receiver, member, name = _receiver(head, self.kinds)
        overload = Overload(overload_id, name, run, member=member)
        given = [receiver, *args] if member else args
        overload.params = tuple(self._type(each) for each in given)
        overload.result = self._type(result)
        overload.variables = tuple(
            sorted({name for kind in (*overload.params, overload.result) for name in _free(kind)})
        )
        overload.cost = cost
        overload.runtime = tuple(self._python(kind) for kind in overload.params)
        self.functions.setdefault(name, []).append(overload)
        return overload

    def _type(self, text: str) -> t.Type:
        words = _WORD.findall(text)
        kind, rest = self._parse(words)
        assert not rest, text
        return kind

    def _parse(self, words: list[str]) -> tuple[t.Type, list[str]]:
        name, rest = words[0], words[1:]
        inner: list[t.Type] = []
        if rest and rest[0] == "(":
            while rest[0] != ")":
                kind, rest = self._parse(rest[1:])
                inner.append(kind)
            rest = rest[1:]
        if name == "list":
            return t.list_of(inner[0]), rest
        if name == "map":
            return t.map_of(*inner), rest
        if name == "optional":
            return t.optional_of(inner[0]), rest
        if name == "type" and inner:
            return t.type_of(inner[0]), rest
        if name in self.kinds:
            return self.kinds[name][0], rest
        return _NAMED.get(name) or t.param(name), rest

    def _python(self, kind: t.Type) -> tuple[type, ...] | None:
        found = _PYTHON.get(kind.kind)
        if found is not None:
            return found
        if t.is_optional(kind):
            return (Optional,)
        for declared, python in self.kinds.values():
            if declared == kind:
                return (python,)
        return None


_PYTHON: dict[str, tuple[type, ...]] = {
    "bool": (bool,), "int": (int,), "uint": (Uint,), "double": (float,), "string": (str,), "bytes": (bytes,),
    "null": (type(None),), "timestamp": (Timestamp,), "duration": (Duration,), "type": (t.Type, t.Struct),
    "list": (list, SetList, MapList), "map": (dict, Typed),
}  # fmt: skip


def _receiver(head: str, kinds: Mapping[str, tuple[t.Type, type]]) -> tuple[str, bool, str]:
    """What stands before the parenthesis: `string.contains` is a method, `optional.of` a function.

    A leading dot says that a name is a function's, where it could be read as a type's method.
    """
    if head.startswith("."):
        return "", False, head[1:]
    depth = 0
    for at in range(len(head) - 1, -1, -1):
        depth += (head[at] == ">") - (head[at] == "<")
        if head[at] == "." and depth == 0:
            receiver = head[:at].replace("<", "(").replace(">", ")")
            base = receiver.partition("(")[0]
            if base in _NAMED or base in kinds or base in ("list", "map", "optional_type") or len(base) == 1:
                return receiver.replace("optional_type", "optional"), True, head[at + 1 :]
            return "", False, head
    return "", False, head


def _split(rest: str) -> tuple[list[str], str]:
    """`string, list(int)) bool` as its arguments and its result."""
    args, depth, start = [], 0, 0
    for at, char in enumerate(rest):
        if char == "(":
            depth += 1
        elif char == ")" and depth:
            depth -= 1
        elif char in ",)" and not depth:
            if rest[start:at].strip():
                args.append(rest[start:at])
            start = at + 1
            if char == ")":
                return args, rest[start:]
    raise ValueError(rest)


def _free(kind: t.Type) -> Iterable[str]:
    if kind.kind == "param":
        yield kind.name
    for inner in kind.params:
        yield from _free(inner)


def no_overload(*_args: Any) -> Any:
    raise EvalError("no such overload")
