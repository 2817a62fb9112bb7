"""Durations, sizes and numbers of CPUs as Docker writes them. All raise ValueError that says what was expected.

Source: https://docs.docker.com/reference/compose-file/extension/#specifying-durations
"""

from __future__ import annotations

import math
import re

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "ns": 1e-9}
_BYTES = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def seconds(value: object) -> float:
    """Of `1m30s` and the like."""
    text = str(value).strip()
    parts = re.findall(r"(\d+(?:\.\d+)?)(us|ms|ns|s|m|h|d)", text)
    if text in ("0", ""):
        return 0
    if not parts or "".join(map("".join, parts)) != text:
        raise ValueError(f"{text!r} is no duration such as 10s or 1m30s")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def whole_seconds(value: object) -> int:
    """Rounded up, as probes and grace periods count in whole ones."""
    return math.ceil(seconds(value))


def size(value: object) -> int:
    """Bytes; units are powers of 1024, whatever their case."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", str(value).strip().lower())
    if not found:
        raise ValueError(f"{value!r} is no size such as 64M or 1gb")
    return int(float(found[1]) * _BYTES[found[2]])


def cpus(value: object) -> str:
    """A quantity of CPUs: "0.25" is 250m."""
    try:
        number = float(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is no number of CPUs such as 0.5") from None
    if not 0 <= number < 1e6:
        raise ValueError(f"{value!r} is no number of CPUs such as 0.5")
    return f"{math.ceil(round(number * 1000, 6))}m"
