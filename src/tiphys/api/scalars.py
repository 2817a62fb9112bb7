"""Scalars that have a form of their own: readers of a JSON value that return what the API stores for it.

A reader raises ValueError with upstream's text for a bad value and TypeError for a value of another type.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from typing import Any

from tiphys.api import quantity, time
from tiphys.api.schema import Schema

_INT32 = 2**31
_INT64 = 2**63


def fits(field: Schema, value: int) -> bool:
    bound = _INT32 if field.format == "int32" else _INT64
    return -bound <= value < bound


def _quantity(value: Any) -> str:
    if type(value) is str:
        return quantity.canonical(value)
    if type(value) is int or type(value) is float:
        return quantity.canonical(str(value))
    raise TypeError


def _int_or_string(value: Any) -> int | str:
    if type(value) is str or (type(value) is int and -_INT32 <= value < _INT32):
        return value
    raise TypeError


def _time(value: Any) -> str:
    if type(value) is not str:
        raise TypeError
    return time.canonical(value)


def _micro_time(value: Any) -> str:
    if type(value) is not str:
        raise TypeError
    return time.canonical_micro(value)


def _bytes(value: Any) -> str:
    if type(value) is not str:
        raise TypeError
    try:
        binascii.a2b_base64(value, strict_mode=True)
    except binascii.Error:
        # Upstream ignores line breaks, and says where the rest goes wrong.
        text = value.replace("\r", "").replace("\n", "")
        try:
            binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error:
            raise ValueError(f"illegal base64 data at input byte {_bad_byte(text)}") from None
    return value


def _bad_byte(text: str) -> int:
    wrong = re.search(r"[^A-Za-z0-9+/]", text.rstrip("="))
    return wrong.start() if wrong else len(text) - len(text) % 4


def _number(value: Any) -> int | float:
    if type(value) is int or type(value) is float:
        return value
    raise TypeError


def _any(value: Any) -> Any:
    return value


def _free(value: Any) -> dict[str, Any]:
    if type(value) is dict:
        return value
    raise TypeError


# By code of schema; None for types that need no reader.
READERS: tuple[Callable[[Any], Any] | None, ...] = (
    *[None] * 6, _number, _quantity, _int_or_string, _time, _micro_time, _bytes, _any, _free,
)  # fmt: skip
