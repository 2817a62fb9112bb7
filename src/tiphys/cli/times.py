"""Times as kubectl shows them: ages such as `5m10s`, and RFC 1123 dates.

Source: k8s.io/apimachinery/pkg/util/duration (its thresholds).
"""

from __future__ import annotations

import calendar
import time

_RFC1123 = "%a, %d %b %Y %H:%M:%S"


def seconds(stamp: str) -> float:
    """Seconds since 1970 of an RFC 3339 time in UTC."""
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + (float(f"0.{fraction}") if fraction else 0)


def age(stamp: str | None, now: float | None = None) -> str:
    """How long ago that was."""
    if not stamp:
        return "<unknown>"
    return human((time.time() if now is None else now) - seconds(stamp))


def human(elapsed: float) -> str:
    """A duration in at most two units; the longer it is, the coarser."""
    whole = int(elapsed)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes, left = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes}m{left}s" if left else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours, left = divmod(minutes, 60)
    if hours < 8:
        return f"{hours}h{left}m" if left else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days, left = divmod(hours, 24)
    if hours < 192:
        return f"{days}d{left}h" if left else f"{days}d"
    if days < 365 * 2:
        return f"{days}d"
    years, left = divmod(days, 365)
    if years < 8:
        return f"{years}y{left}d" if left else f"{years}y"
    return f"{years}y"


def rfc1123(stamp: str | None) -> str:
    """The time as `describe` shows it, in the local zone; "" of none."""
    if not stamp:
        return ""
    local = time.localtime(seconds(stamp))
    return time.strftime(_RFC1123 + " %z", local)


def now() -> str:
    """The present as RFC 3339 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
