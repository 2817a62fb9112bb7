"""Times as people write them: spans such as 6h, moments in RFC 3339."""

from __future__ import annotations

import argparse
import re
import time
from datetime import datetime

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d|w)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def span(text: str) -> float:
    """Seconds of 30m, 6h, 7d or 2w; 0 is 0. An argument type."""
    match = _SPAN.fullmatch(text)
    if match is None and text != "0":
        raise argparse.ArgumentTypeError(f"{text!r} is no span of time: write 30m, 6h, 7d or 2w")
    return float(match[1]) * _SECONDS[match[2]] if match else 0.0


def moment(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time; without a zone it is the machine's own. An argument type."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write it as 2026-11-20T10:15:00Z") from None
    return found.timestamp()


def stamp(seconds: float) -> str:
    """RFC 3339, in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def shown_span(seconds: float) -> str:
    """The largest unit that it is a whole number of."""
    for unit in ("w", "d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return f"{seconds:g}s"


def age(seconds: float, now: float) -> str:
    """How long ago, roughly."""
    passed = max(0.0, now - seconds)
    for unit in ("d", "h", "m"):
        if passed >= 2 * _SECONDS[unit]:
            return f"{passed // _SECONDS[unit]:.0f}{unit} ago"
    return f"{passed:.0f}s ago"
