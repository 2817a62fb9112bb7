"""Schedules of CronJobs: five fields as crontab(5) has them, or a macro.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

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
_HOURS = 24
# A 29th of February comes at the latest after eight years.
_HORIZON_DAYS = 366 * 9
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


def next_after(schedule: Schedule, moment: float, zone: tzinfo) -> float | None:
    """The first time after `moment` (both in unix seconds) by the clocks of `zone`; None if there is none in years.

    Times that clocks skip are skipped. Those that clocks show twice come once, unless the schedule is for every hour.
    """
    if schedule.every:
        return float(int(moment) + schedule.every)
    start = datetime.fromtimestamp(moment, zone)
    for days in range(_HORIZON_DAYS):
        day = start.date() + timedelta(days=days)
        for found in _times(schedule, day, zone, start.hour if not days else 0) if _on(schedule, day) else ():
            if found > moment:
                return found
    return None


def latest(schedule: Schedule, after: float, until: float, zone: tzinfo) -> float | None:
    """The last time after `after` and not after `until`, as `next_after` finds them."""
    if schedule.every:
        count = int(until - int(after)) // schedule.every
        return float(int(after) + count * schedule.every) if count > 0 else None
    first, last = (datetime.fromtimestamp(moment, zone).date() for moment in (after, until))
    for days in range(min((last - first).days + 1, _HORIZON_DAYS)):
        day = last - timedelta(days=days)
        if _on(schedule, day):
            found = [time for time in _times(schedule, day, zone, 0) if after < time <= until]
            if found:
                return found[-1]
    return None


def _on(schedule: Schedule, day: date) -> bool:
    if day.month not in schedule.months:
        return False
    matches = (day.day in schedule.days, day.isoweekday() % 7 in schedule.weekdays)
    return all(matches) if schedule.any_day or schedule.any_weekday else any(matches)


def _times(schedule: Schedule, day: date, zone: tzinfo, first_hour: int) -> Iterator[float]:
    """In their order, from `first_hour` on."""
    folds = (0, 1) if len(schedule.hours) == _HOURS else (0,)
    minutes = sorted(schedule.minutes)
    for hour in sorted(hour for hour in schedule.hours if hour >= first_hour):
        for fold in folds:
            for minute in minutes:
                local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone, fold=fold)
                moment = local.timestamp()
                shown = datetime.fromtimestamp(moment, zone)
                if (shown.hour, shown.minute, shown.fold) == (hour, minute, fold):
                    yield moment
