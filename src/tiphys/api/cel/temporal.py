"""Durations and timestamps: as Go writes and reads them, and their parts in a time zone."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

from tiphys.api.cel.errors import EvalError
from tiphys.api.cel.values import FIRST_SECOND, INT_MAX, INT_MIN, Duration, Timestamp

SECOND = 10**9
_UNITS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND,
}  # fmt: skip
_PART = re.compile(r"([0-9]*)(\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# 9999-12-31T23:59:59Z.
_LAST = 253_402_300_799


def parse_duration(text: str) -> Duration:
    """`1h30m` as Go reads it. Raises ValueError."""
    body = text[1:] if text[:1] in ("+", "-") else text
    if body == "0":
        return Duration(0)
    total, at = 0, 0
    while at < len(body):
        match = _PART.match(body, at)
        if match is None or not (match[1] or match[3]):
            break
        unit = _UNITS[match[4]]
        fraction = match[3] or ""
        total += int(match[1] or 0) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
        at = match.end()
    if not body or at < len(body) or total > INT_MAX:
        raise ValueError(f'time: invalid duration "{text}"')
    return Duration(-total if text[0] == "-" else total)


def show_duration(value: Duration) -> str:
    """Seconds, with no more digits than needed: `5400s`, `0.5s`."""
    whole, rest = divmod(abs(value.ns), SECOND)
    shown = f"{whole}.{rest:09d}".rstrip("0").rstrip(".") if rest else str(whole)
    return f"{'-' if value.ns < 0 else ''}{shown}s"


def parse_timestamp(text: str) -> Timestamp:
    """An RFC 3339 time. Raises ValueError."""
    match = _STAMP.fullmatch(text)
    if match is None:
        raise ValueError(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}" as "2006"')
    moment = datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00"))
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    offset = moment.utcoffset() or timedelta()
    ns = seconds * SECOND + int(((match[2] or "") + "0" * 9)[:9])
    return checked_timestamp(ns, int(offset.total_seconds()))


def checked_timestamp(ns: int, offset: int = 0) -> Timestamp:
    if not FIRST_SECOND * SECOND <= ns < (_LAST + 1) * SECOND:
        raise EvalError("timestamp overflow")
    return Timestamp(ns, offset)


def checked_duration(ns: int) -> Duration:
    if not INT_MIN <= ns <= INT_MAX:
        raise EvalError("duration overflow")
    return Duration(ns)


def show_timestamp(value: Timestamp) -> str:
    """`2006-01-02T15:04:05.5Z`: with no more digits than needed."""
    seconds, rest = divmod(value.ns, SECOND)
    moment = (_EPOCH + timedelta(seconds=seconds)).astimezone(timezone(timedelta(seconds=value.offset)))
    shown = moment.replace(tzinfo=None).isoformat(timespec="seconds")
    zone = moment.isoformat()[19:] if value.offset else "Z"
    return shown + (f".{rest:09d}".rstrip("0") if rest else "") + zone


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    """A zone by its name in the database, or by its offset, as `-02:30`."""
    if name in ("", "UTC", "Z"):
        return UTC
    offset = re.fullmatch(r"([+-]?)(\d\d?):(\d\d)", name)
    if offset is not None:
        span = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(-span if offset[1] == "-" else span)
    # The database of zones is only read by those who ask for a zone.
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise EvalError(f"unknown time zone {name}") from None


def part(read: Callable[[datetime], int]) -> Callable[..., int]:
    """A function of a timestamp and, where given, a zone."""

    def accessor(value: Timestamp, zone: str = "UTC") -> int:
        moment = _EPOCH + timedelta(seconds=value.ns // SECOND)
        return read(moment.astimezone(_zone(zone)))

    return accessor


def milliseconds(value: Timestamp, zone: str = "UTC") -> int:
    _zone(zone)
    return value.ns % SECOND // 10**6


def whole(unit: int) -> Callable[[Duration], int]:
    """A duration in whole units, rounded towards zero."""
    return lambda value: value.ns // unit if value.ns >= 0 else -(-value.ns // unit)
