"""Times as kubectl shows them: ages such as `5m10s`, and RFC 1123 dates."""

from __future__ import annotations

import calendar
import time

from tiphys.api import time as api_time

_RFC1123 = "%a, %d %b %Y %H:%M:%S"


def seconds(stamp: str) -> float:
    """Seconds since 1970 of an RFC 3339 time in UTC."""
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + (float(f"0.{fraction}") if fraction else 0)


def age(stamp: str | None, now: float | None = None) -> str:
    """How long ago that was."""
    if not stamp:
        return "<unknown>"
    return api_time.age((time.time() if now is None else now) - seconds(stamp))


def rfc1123(stamp: str | None) -> str:
    """The time as `describe` shows it, in the local zone; "" of none."""
    if not stamp:
        return ""
    local = time.localtime(seconds(stamp))
    return time.strftime(_RFC1123 + " %z", local)


def now() -> str:
    """The present as RFC 3339 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
