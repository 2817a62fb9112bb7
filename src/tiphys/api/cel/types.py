"""The types of CEL as the checker sees them: values that never change, compared by what they say.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#gradual-type-checking
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple


class Type:
    """`kind` is what the checker dispatches on, `name` what tells two types of a kind apart, `params` its arguments."""

    __slots__ = ("_hash", "kind", "name", "params")

    def __init__(self, kind: str, name: str = "", params: tuple[Type, ...] = ()) -> None:
        self.kind, self.name, self.params = kind, name or kind, params
        self._hash = hash((kind, self.name, params))

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Type)
            and self.kind == other.kind
            and self.name == other.name
            and self.params == other.params
        )

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        if not self.params:
            return self.name
        return f"{self.name}({', '.join(map(str, self.params))})"

    __repr__ = __str__


class Field(NamedTuple):
    """A field of a struct: its name in the data (which its name in CEL may escape) and its type."""

    name: str
    type: Type


class Struct(Type):
    """An object with declared fields. `open_fields` gives the type of a field that is not listed, or None.

    With `nulls`, a field may be null; without, null means that the field is not there.
    """

    __slots__ = ("fields", "nulls", "open_fields")

    def __init__(
        self,
        name: str,
        fields: Mapping[str, Field] | None = None,
        open_fields: Callable[[str], Type | None] | None = None,
        *,
        nulls: bool = False,
    ) -> None:
        super().__init__("struct", name)
        self.fields: Mapping[str, Field] = {} if fields is None else fields
        self.open_fields = open_fields
        self.nulls = nulls

    def field(self, name: str) -> Field | None:
        found = self.fields.get(name)
        if found is None and self.open_fields is not None:
            kind = self.open_fields(name)
            return Field(name, kind) if kind is not None else None
        return found


BOOL, INT, UINT, DOUBLE, STRING, BYTES = map(Type, ("bool", "int", "uint", "double", "string", "bytes"))
NULL, DYN, ERROR = Type("null"), Type("dyn"), Type("error", "!error!")
TIMESTAMP = Type("timestamp", "timestamp")
DURATION = Type("duration", "duration")
TYPE = Type("type")


def list_of(element: Type) -> Type:
    return Type("list", "list", (element,))


def map_of(key: Type, value: Type) -> Type:
    return Type("map", "map", (key, value))


def optional_of(value: Type) -> Type:
    return Type("opaque", "optional_type", (value,))


def opaque(name: str) -> Type:
    return Type("opaque", name)


def param(name: str) -> Type:
    return Type("param", name)


def type_of(kind: Type) -> Type:
    return Type("type", "type", (kind,))


LIST, MAP = list_of(DYN), map_of(DYN, DYN)
_LOOSE = frozenset({"dyn", "error"})
_NULLABLE = frozenset({"opaque", "struct", "duration", "timestamp"})

Substitution = dict[str, Type]


def is_optional(kind: Type) -> bool:
    return kind.name == "optional_type" and kind.kind == "opaque"


def unwrap(kind: Type) -> tuple[Type, bool]:
    """The type inside an optional, and whether there was one."""
    return (kind.params[0], True) if is_optional(kind) else (kind, False)


def substitute(found: Substitution, kind: Type, *, to_dyn: bool = False) -> Type:
    """Replace bound type parameters, and unbound ones by dyn where `to_dyn` says so."""
    if kind.kind == "param":
        bound = found.get(kind.name)
        if bound is not None:
            return substitute(found, bound, to_dyn=to_dyn)
        return DYN if to_dyn else kind
    if not kind.params:
        return kind
    params = tuple(substitute(found, inner, to_dyn=to_dyn) for inner in kind.params)
    return kind if params == kind.params else Type(kind.kind, kind.name, params)


def assignable(found: Substitution, one: Type, other: Type) -> bool:
    """Whether the types agree, binding parameters in `found` on the way; where they do not it stays as it was."""
    trial = dict(found)
    if _agree(trial, one, other):
        found.update(trial)
        return True
    return False


def assignable_all(found: Substitution, ones: tuple[Type, ...], others: tuple[Type, ...]) -> bool:
    if len(ones) != len(others):
        return False
    trial = dict(found)
    if all(_agree(trial, one, other) for one, other in zip(ones, others, strict=True)):
        found.update(trial)
        return True
    return False


def _agree(found: Substitution, one: Type, other: Type) -> bool:
    if other.kind == "param":
        valid, bound = _bind(found, one, other)
        if valid or bound:
            return valid
    if one.kind == "param":
        return _bind(found, other, one)[0]
    if one.kind in _LOOSE or other.kind in _LOOSE:
        return True
    if one.kind == "null" or other.kind == "null":
        return one.kind == other.kind or (other if one.kind == "null" else one).kind in _NULLABLE
    if one.kind == "type":
        return other.kind == "type"
    if one.kind != other.kind or one.name != other.name or len(one.params) != len(other.params):
        return False
    return all(_agree(found, mine, theirs) for mine, theirs in zip(one.params, other.params, strict=True))


def _bind(found: Substitution, kind: Type, parameter: Type) -> tuple[bool, bool]:
    """Whether `kind` can stand for the parameter, and whether the parameter was bound already."""
    if kind == parameter:
        return True, True
    bound = found.get(parameter.name)
    if bound is not None:
        if kind == bound:
            return True, True
        if not _agree(found, kind, bound):
            return False, True
        wider = most_general(kind, bound)
        if not _occurs(found, parameter, wider):
            found[parameter.name] = wider
        return True, True
    if _occurs(found, parameter, kind):
        return False, False
    found[parameter.name] = kind
    return True, False


def _occurs(found: Substitution, parameter: Type, kind: Type) -> bool:
    if kind == parameter:
        return True
    if kind.kind == "param":
        bound = found.get(kind.name)
        return bound is not None and _occurs(found, parameter, bound)
    return any(_occurs(found, parameter, inner) for inner in kind.params)


def most_general(one: Type, other: Type) -> Type:
    return one if _less_specific(one, other) else other


def _less_specific(one: Type, other: Type) -> bool:
    if one.kind in ("dyn", "param"):
        return True
    if other.kind in ("dyn", "param") or one.kind != other.kind:
        return False
    if one.kind == "type":
        return True
    if one.name != other.name or len(one.params) != len(other.params):
        return False
    return all(_less_specific(mine, theirs) for mine, theirs in zip(one.params, other.params, strict=True))


def signature(args: tuple[Type, ...], *, member: bool) -> str:
    """Argument types as errors show them: `string.(int, int)` for a method, `(int, int)` for a function."""
    shown = list(map(str, args))
    return f"{shown[0]}.({', '.join(shown[1:])})" if member else f"({', '.join(shown)})"
