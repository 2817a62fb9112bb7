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
# Minute, hour, day of month, month, day of week.
_FIELDS = (
    (0, 59, _NO_NAMES),
    (0, 23, _NO_NAMES),
    (1, 31, _NO_NAMES),
    (1, 12, _MONTHS),
    (0, 6, _DAYS),
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
    """Raises ValueError that says what is wrong."""
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
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
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


def _parse_field(field: str, low: int, high: int, words: dict[str, int]) -> frozenset[int]:
    allowed: set[int] = set()
    for part in field.split(","):
        if part:
            allowed.update(_parse_range(part, low, high, words))
    return frozenset(allowed)


def _parse_range(part: str, low: int, high: int, words: dict[str, int]) -> range:
    """`*`, `5`, `1-5` or `1-5/2`. The words of the errors are those of upstream's parser."""
    span, *steps = part.split("/")
    first_text, *ends = span.split("-")
    if first_text in ("*", "?"):
        first, last = low, high
    elif len(ends) > 1:
        raise ValueError(f"too many hyphens: {part}")
    else:
        first = _number(first_text, words)
        last = _number(ends[0], words) if ends else first
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {part}")
    step = _number(steps[0], {}) if steps else 1
    if steps and not ends and first_text not in ("*", "?"):
        last = high
    if first < low:
        raise ValueError(f"beginning of range ({first}) below minimum ({low}): {part}")
    if last > high:
        raise ValueError(f"end of range ({last}) above maximum ({high}): {part}")
    if first > last:
        raise ValueError(f"beginning of range ({first}) beyond end of range ({last}): {part}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {part}")
    return range(first, last + 1, step)


def _number(text: str, words: dict[str, int]) -> int:
    number = words.get(text.lower())
    if number is not None:
        return number
    if not text.removeprefix("-").isdigit():
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text) < 0:
        raise ValueError(f"negative number ({int(text)}) not allowed: {text}")
    return int(text)
