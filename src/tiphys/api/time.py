"""Times as the API writes them (RFC 3339, UTC, seconds or microseconds), and ages as tables show them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:\d\d)")
_LAYOUT = "2006-01-02T15:04:05Z07:00"


def parse(text: str) -> datetime:
    """An aware datetime in UTC. Raises ValueError with upstream's text for what is not RFC 3339."""
    if _RFC3339.fullmatch(text) is None:
        raise ValueError(f'parsing time "{text}" as "{_LAYOUT}": cannot parse "{text}" as "2006"')
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f'parsing time "{text}": {error}') from None


@lru_cache(maxsize=4096)
def seconds(text: str) -> float:
    """Unix seconds of an RFC 3339 time. Raises ValueError."""
    return parse(text).timestamp()


def rfc3339(moment: datetime | float) -> str:
    """`2006-01-02T15:04:05Z`: what metav1.Time writes. Takes an aware datetime or unix seconds."""
    if not isinstance(moment, datetime):
        return _stamp(int(moment // 1))
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def rfc3339_micro(moment: datetime | float) -> str:
    """`2006-01-02T15:04:05.000000Z`: what metav1.MicroTime writes. Takes an aware datetime or unix seconds."""
    if not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


@lru_cache(maxsize=8)
def _stamp(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=1024)
def canonical(text: str) -> str:
    """A metav1.Time as the API returns it. Raises ValueError."""
    return rfc3339(parse(text))


@lru_cache(maxsize=1024)
def canonical_micro(text: str) -> str:
    """A metav1.MicroTime as the API returns it. Raises ValueError."""
    return rfc3339_micro(parse(text))


def age(seconds: float) -> str:
    """A duration in two units at most, the finer the shorter it is: `47s`, `3m12s`, `5h`, `12d`, `2y40d`.

    Source: k8s.io/apimachinery/pkg/util/duration (its thresholds).
    """
    whole = int(seconds)
    if whole < 0:
        return "0s" if whole == -1 else "<invalid>"
    if whole < 120:
        return f"{whole}s"
    minutes, hours = whole // 60, whole // 3600
    if minutes < 10:
        return _pair(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _pair(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 24 * 8:
        return _pair(days, "d", hours % 24, "h")
    if hours < 24 * 365 * 2:
        return f"{days}d"
    if hours < 24 * 365 * 8:
        return _pair(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _pair(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"
