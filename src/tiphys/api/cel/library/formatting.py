"""`'%s has %d'.format([name, count])`: the clauses of cel-go's `ext/formatting.go`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tiphys.api.cel import temporal
from tiphys.api.cel.costs import bound
from tiphys.api.cel.errors import EvalError
from tiphys.api.cel.library.standard import show_double
from tiphys.api.cel.types import Type
from tiphys.api.cel.values import Duration, Timestamp, Uint, type_of

_CLAUSE = re.compile(r"%(?:\.(\d+))?(.)?", re.DOTALL)
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_SPECIAL = ("NaN", "Infinity", "-Infinity")
_MAX_PRECISION = 1000


def format_string(text: str, args: list[Any]) -> str:
    """The text with its clauses filled in order. Raises EvalError with upstream's words."""
    out: list[str] = []
    end = used = length = 0
    for match in _CLAUSE.finditer(text):
        out.append(text[end : match.start()])
        end = match.end()
        verb = match[2]
        if verb is None:
            raise EvalError("unexpected end of string")
        if verb == "%":
            out.append("%")
            continue
        if used >= len(args):
            raise EvalError(f"index {used} out of range")
        out.append(_clause(verb, match[1], args[used]))
        used += 1
        length += len(out[-1])
        bound(length)
    return "".join([*out, text[end:]])


def _clause(verb: str, precision: str | None, value: Any) -> str:
    places = 6 if precision is None else int(precision)
    if places > _MAX_PRECISION:
        raise EvalError(f"precision {places} exceeds the greatest one, {_MAX_PRECISION}")
    if verb in "fe":
        return _float(verb, places, value)
    clause = _CLAUSES.get(verb)
    if clause is None:
        raise EvalError(f'could not parse formatting clause: unrecognized formatting clause "{verb}"')
    return clause(value)


def show(value: Any) -> str:
    """What `%s` writes."""
    kind = type(value)
    if kind is str:
        return str(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind in (int, Uint):
        return str(int(value))
    if kind is float:
        return show_double(value)
    if kind is bytes:
        return str(value.decode(errors="replace"))
    return _show_other(value)


def _show_other(value: Any) -> str:
    if isinstance(value, Duration):
        return temporal.show_duration(value)
    if isinstance(value, Timestamp):
        return temporal.show_timestamp(value)
    if isinstance(value, Type):
        return value.name
    if isinstance(value, list):
        return f"[{', '.join(map(_nested, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{_nested(key)}:{_nested(item)}" for key, item in value.items())) + "}"
    kinds = "strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"
    raise EvalError(f"error during formatting: string clause can only be used on {kinds}, was given {type_of(value)}")


def _nested(value: Any) -> str:
    if type(value) is str:
        return json.dumps(value, ensure_ascii=False)
    if type(value) is bytes:
        return "b" + json.dumps(value.decode(errors="replace"), ensure_ascii=False)
    if type(value) is float and value - value == 0:
        return f"{value:.6f}"
    return show(value)


def _refused(clause: str, kinds: str, value: Any) -> EvalError:
    text = f"error during formatting: {clause} clause can only be used on {kinds}, was given {type_of(value)}"
    return EvalError(text)


def _float(verb: str, places: int, value: Any) -> str:
    if value in _SPECIAL and type(value) is str:
        value = float(value)
    if type(value) is not float:
        raise _refused("fixed-point" if verb == "f" else "scientific", "doubles", value)
    if value - value != 0:
        return "NaN" if value != value else "∞" if value > 0 else "-∞"
    if verb == "f":
        return f"{value:,.{places}f}"
    mantissa, _, exponent = f"{value:.{places}e}".partition("e")
    sign = "-" if exponent[0] == "-" else ""
    return f"{mantissa}×10{(sign + exponent[1:]).translate(_SUPERSCRIPT)}"


def _decimal(value: Any) -> str:
    if type(value) not in (int, Uint):
        raise _refused("decimal", "integers", value)
    return str(int(value))


def _based(name: str, base: str) -> Callable[[Any], str]:
    def clause(value: Any) -> str:
        kind = type(value)
        if kind in (int, Uint):
            return format(int(value), base)
        if kind is bool and base == "b":
            return "1" if value else "0"
        if kind in (str, bytes) and base in "xX":
            data = str((value.encode() if kind is str else value).hex())
            return data.upper() if base == "X" else data
        kinds = {"b": "integers and bools", "o": "integers"}.get(base, "integers, byte buffers, and strings")
        raise _refused(name, kinds, value)

    return clause


_CLAUSES: dict[str, Callable[[Any], str]] = {
    "s": show, "d": _decimal, "b": _based("binary", "b"), "o": _based("octal", "o"), "x": _based("hex", "x"),
    "X": _based("hex", "X"),
}  # fmt: skip
