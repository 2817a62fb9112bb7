"""IntOrString: a number or a percentage of one, as in `maxUnavailable: 25%`."""

from __future__ import annotations

import re

_PERCENT = re.compile(r"[0-9]+%")


def is_percent(value: int | str) -> bool:
    return isinstance(value, str) and _PERCENT.fullmatch(value) is not None


def scaled(value: int | str, total: int, *, round_up: bool) -> int:
    """`value` itself, or that percentage of `total`. Raises ValueError for a string that is not a percentage."""
    if isinstance(value, int):
        return value
    if not is_percent(value):
        raise ValueError(f'invalid value for IntOrString: invalid type: string is not a percentage: "{value}"')
    share = int(value[:-1]) * total
    return -(-share // 100) if round_up else share // 100
