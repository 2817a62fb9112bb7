"""Schedules of CronJobs: five fields as crontab(5) has them, or a macro.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6,
    "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12,
}  # fmt: skip
_DAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_NO_NAMES: dict[str, int] = {}
_FIELDS = (
    ("minute", 0, 59, _NO_NAMES),
    ("hour", 0, 23, _NO_NAMES),
    ("day of month", 1, 31, _NO_NAMES),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_EVERY = re.compile(r"@every (?=\S)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


@dataclass(frozen=True, slots=True)
class Schedule:
    """What each field allows. `any_day` and `any_weekday`: the field was `*` or `?`; if neither, one match is enough.

    `every` is the seconds of an `@every` schedule, 0 for all others.
    """

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    any_day: bool = False
    any_weekday: bool = False
    every: int = 0


def parse(text: str) -> Schedule:
    """Raises ValueError that says which field is wrong."""
    if text.startswith("@every"):
        return Schedule(every=_parse_every(text))
    if text.startswith("@"):
        if text not in MACROS:
            raise ValueError(f"unrecognized descriptor: {text}")
        text = MACROS[text]
    if "TZ=" in text:
        raise ValueError("cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
    fields = text.split()
    if len(fields) != 5:
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: {fields}")
    minutes, hours, days, months, weekdays = (
        _parse_field(field, *rule) for field, rule in zip(fields, _FIELDS, strict=True)
    )
    any_day, any_weekday = (fields[position][0] in "*?" for position in (2, 4))
    return Schedule(minutes, hours, days, months, weekdays, any_day, any_weekday)


def problems(text: str) -> list[str]:
    """What is wrong with a schedule, in words; none when nothing is."""
    try:
        parse(text)
    except ValueError as error:
        return [str(error)]
    return []


def _parse_every(text: str) -> int:
    match = _EVERY.fullmatch(text)
    if match is None:
        raise ValueError(f"failed to parse duration {text}: expected a form such as @every 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return max(1, hours * 3600 + minutes * 60 + seconds)


def _parse_field(field: str, name: str, low: int, high: int, words: dict[str, int]) -> frozenset[int]:
    allowed: set[int] = set()
    for part in field.split(","):
        span, slash, step_text = part.partition("/")
        if slash and not (step_text.isdigit() and int(step_text) > 0):
            raise ValueError(f"step of range should be a positive number: {part} in the {name}")
        step = int(step_text) if slash else 1
        if span in ("*", "?"):
            first, last = low, high
        else:
            start, dash, end = span.partition("-")
            first = _number(start, name, words)
            last = _number(end, name, words) if dash else (high if slash else first)
        if first < low:
            raise ValueError(f"beginning of range ({first}) below minimum ({low}): {part} in the {name}")
        if last > high:
            raise ValueError(f"end of range ({last}) above maximum ({high}): {part} in the {name}")
        if first > last:
            raise ValueError(f"beginning of range ({first}) beyond end of range ({last}): {part} in the {name}")
        allowed.update(range(first, last + 1, step))
    return frozenset(allowed)


def _number(text: str, name: str, words: dict[str, int]) -> int:
    number = words.get(text.lower())
    if number is not None:
        return number
    if not text.isdigit():
        raise ValueError(f"failed to parse int from {text!r} in the {name}")
    return int(text)
