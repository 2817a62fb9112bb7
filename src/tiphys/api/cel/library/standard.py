"""The language's own functions: sizes, conversions, tests of strings, parts of times.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#list-of-standard-definitions
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from tiphys.api.cel import costs, temporal
from tiphys.api.cel.declare import Library
from tiphys.api.cel.errors import EvalError
from tiphys.api.cel.regexes import search
from tiphys.api.cel.values import INT_MAX, INT_MIN, UINT_MAX, Duration, Timestamp, Uint, type_of

STANDARD = Library()
_add = STANDARD.add
_INT = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(
    r"[+-]?([0-9]+(_[0-9]+)*\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf(inity)?|nan)", re.IGNORECASE
)
# From this power of ten on, Go's %g writes an exponent, unless the digits themselves reach further.
_PLAIN = 6
# No number of 64 bits is longer, but for leading zeros.
_LONGEST = 64
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


def _refuse(kind: str, target: str) -> EvalError:
    return EvalError(f"type conversion error from '{kind}' to '{target}'")


def _string_to_int(text: str) -> int:
    if len(text) > _LONGEST or _INT.fullmatch(text) is None or not INT_MIN <= int(text) <= INT_MAX:
        raise _refuse("string", "int")
    return int(text)


def _string_to_uint(text: str) -> Uint:
    if len(text) > _LONGEST or not (text.isascii() and text.isdigit()) or int(text) > UINT_MAX:
        raise _refuse("string", "uint")
    return Uint(text)


def _string_to_double(text: str) -> float:
    if _FLOAT.fullmatch(text) is None:
        raise _refuse("string", "double")
    value = float(text)
    if math.isinf(value) and "n" not in text.lower():
        raise _refuse("string", "double")
    return value


def _string_to_bool(text: str) -> bool:
    if text not in _TRUE and text not in _FALSE:
        raise _refuse("string", "bool")
    return text in _TRUE


def _double_to_int(value: float) -> int:
    # The bounds are exclusive: at 2**63 doubles no longer tell neighbours apart.
    if not -(2.0**63) < value < 2.0**63:
        raise EvalError("integer overflow")
    return int(value)


def _double_to_uint(value: float) -> Uint:
    if not 0 <= value < 2.0**64:
        raise EvalError("unsigned integer overflow")
    return Uint(value)


def _int_to_uint(value: int) -> Uint:
    if value < 0:
        raise EvalError("unsigned integer overflow")
    return Uint(value)


def _uint_to_int(value: int) -> int:
    if value > INT_MAX:
        raise EvalError("integer overflow")
    return int(value)


def show_double(value: float) -> str:
    """As Go's %g: the shortest digits that read back, with an exponent below 1e-4 and from 1e6 on."""
    if value != value:
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    shown = "".join(map(str, digits))
    power = len(shown) - 1 + exponent
    if value == 0:
        shown = "0"
    elif -4 <= power < _PLAIN:
        shown = f"{Decimal((0, digits, exponent)):f}"
    else:
        shown = f"{shown[0]}{'.' if shown[1:] else ''}{shown[1:]}e{'-' if power < 0 else '+'}{abs(power):02d}"
    return f"-{shown}" if sign else shown


def _bytes_to_string(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise EvalError("invalid UTF-8 in bytes, cannot convert to string") from None


def _reading(read: Callable[[str], Any], target: str) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return read(text)
        except ValueError:
            raise _refuse("string", target) from None

    return convert


def _same(value: Any) -> Any:
    return value


def _declare_numbers() -> None:
    for kind, suffix in (("int", "int64"), ("uint", "uint64"), ("double", "double")):
        _add(f"{suffix}_to_{suffix}", f"{kind}({kind}) {kind}", _same)
    _add("double_to_int64", "int(double) int", _double_to_int)
    _add("duration_to_int64", "int(duration) int", lambda value: value.ns)
    _add("string_to_int64", "int(string) int", _string_to_int)
    _add("timestamp_to_int64", "int(timestamp) int", lambda value: value.ns // temporal.SECOND)
    _add("uint64_to_int64", "int(uint) int", _uint_to_int)
    _add("double_to_uint64", "uint(double) uint", _double_to_uint)
    _add("int64_to_uint64", "uint(int) uint", _int_to_uint)
    _add("string_to_uint64", "uint(string) uint", _string_to_uint)
    _add("int64_to_double", "double(int) double", float)
    _add("uint64_to_double", "double(uint) double", float)
    _add("string_to_double", "double(string) double", _string_to_double)


def _declare_texts() -> None:
    _add("string_to_string", "string(string) string", _same)
    _add("bool_to_string", "string(bool) string", lambda value: "true" if value else "false")
    _add("bytes_to_string", "string(bytes) string", _bytes_to_string, costs.traverse)
    _add("double_to_string", "string(double) string", show_double)
    _add("duration_to_string", "string(duration) string", temporal.show_duration)
    _add("int64_to_string", "string(int) string", str)
    _add("timestamp_to_string", "string(timestamp) string", temporal.show_timestamp)
    _add("uint64_to_string", "string(uint) string", lambda value: str(int(value)))
    _add("bool_to_bool", "bool(bool) bool", _same)
    _add("string_to_bool", "bool(string) bool", _string_to_bool)
    _add("bytes_to_bytes", "bytes(bytes) bytes", _same)
    _add("string_to_bytes", "bytes(string) bytes", str.encode, costs.traverse)
    _add("type", "type(A) type(A)", type_of)
    _add("to_dyn", "dyn(A) dyn", _same)
    for kind in ("string", "bytes", "list(A)", "map(A, B)"):
        name = kind.partition("(")[0]
        _add(f"size_{name}", f"size({kind}) int", len)
        _add(f"{name}_size", f"{kind.replace('(', '<').replace(')', '>')}.size() int", len)
    _add("contains_string", "string.contains(string) bool", str.__contains__, costs.product)
    _add("ends_with_string", "string.endsWith(string) bool", str.endswith, _second_traversed)
    _add("starts_with_string", "string.startsWith(string) bool", str.startswith, _second_traversed)
    _add("matches", "matches(string, string) bool", search, costs.regex)
    _add("matches_string", "string.matches(string) bool", search, costs.regex)


def _second_traversed(args: costs.Args, _result: Any) -> int:
    return costs.tenth(len(args[1]))


_PARTS: dict[str, tuple[str, Callable[[datetime], int]]] = {
    "getFullYear": ("year", lambda moment: moment.year),
    "getMonth": ("month", lambda moment: moment.month - 1),
    "getDayOfYear": ("day_of_year", lambda moment: moment.timetuple().tm_yday - 1),
    "getDayOfMonth": ("day_of_month", lambda moment: moment.day - 1),
    "getDate": ("day_of_month_1_based", lambda moment: moment.day),
    "getDayOfWeek": ("day_of_week", lambda moment: moment.isoweekday() % 7),
    "getHours": ("hours", lambda moment: moment.hour),
    "getMinutes": ("minutes", lambda moment: moment.minute),
    "getSeconds": ("seconds", lambda moment: moment.second),
}


def _declare_times() -> None:
    _add("duration_to_duration", "duration(duration) duration", _same)
    _add("string_to_duration", "duration(string) duration", _reading(temporal.parse_duration, "duration"))
    _add("timestamp_to_timestamp", "timestamp(timestamp) timestamp", _same)
    _add("int64_to_timestamp", "timestamp(int) timestamp", _int_to_timestamp)
    _add("string_to_timestamp", "timestamp(string) timestamp", _reading(temporal.parse_timestamp, "timestamp"))
    accessors = {name: (suffix, temporal.part(read)) for name, (suffix, read) in _PARTS.items()}
    accessors["getMilliseconds"] = ("milliseconds", temporal.milliseconds)
    for name, (suffix, run) in accessors.items():
        _add(f"timestamp_to_{suffix}", f"timestamp.{name}() int", run)
        _add(f"timestamp_to_{suffix}_with_tz", f"timestamp.{name}(string) int", run)
    for name, suffix, unit in (
        ("getHours", "hours", 3600 * temporal.SECOND), ("getMinutes", "minutes", 60 * temporal.SECOND),
        ("getSeconds", "seconds", temporal.SECOND), ("getMilliseconds", "milliseconds", 10**6),
    ):  # fmt: skip
        _add(f"duration_to_{suffix}", f"duration.{name}() int", temporal.whole(unit))


def _int_to_timestamp(value: int) -> Timestamp:
    return temporal.checked_timestamp(value * temporal.SECOND)


_declare_numbers()
_declare_texts()
_declare_times()
__all__ = ["STANDARD", "Duration", "show_double"]
