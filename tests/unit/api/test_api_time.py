from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tiphys.api import intstr, time

MINUTE, HOUR, DAY, YEAR = 60, 3600, 86400, 365 * 86400


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (-0.5, "0s"),
        (0, "0s"),
        (1, "1s"),
        (70, "70s"),
        (119, "119s"),
        (120, "2m"),
        (190, "3m10s"),
        (10 * MINUTE - 1, "9m59s"),
        (10 * MINUTE, "10m"),
        (10 * MINUTE + 1, "10m"),
        (3 * HOUR - 1, "179m"),
        (3 * HOUR, "3h"),
        (3 * HOUR + 5 * MINUTE, "3h5m"),
        (8 * HOUR - 1, "7h59m"),
        (8 * HOUR, "8h"),
        (2 * DAY - 1, "47h"),
        (2 * DAY, "2d"),
        (2 * DAY + 5 * HOUR, "2d5h"),
        (8 * DAY - 1, "7d23h"),
        (8 * DAY, "8d"),
        (2 * YEAR - 1, "729d"),
        (2 * YEAR, "2y"),
        (2 * YEAR + 5 * DAY, "2y5d"),
        (8 * YEAR - 1, "7y364d"),
        (8 * YEAR, "8y"),
        (8 * YEAR + 364 * DAY, "8y"),
    ],
)
def test_age(seconds, shown):
    assert time.age(seconds) == shown


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2024-02-29T12:00:00Z", "2024-02-29T12:00:00Z"),
        ("2024-02-29T12:00:00.999Z", "2024-02-29T12:00:00Z"),
        ("2024-02-29T12:00:00+01:30", "2024-02-29T10:30:00Z"),
    ],
)
def test_canonical(text, canonical):
    assert time.canonical(text) == canonical


def test_micro_time_keeps_microseconds():
    assert time.canonical_micro("2024-02-29T12:00:00.5Z") == "2024-02-29T12:00:00.500000Z"


@pytest.mark.parametrize(
    "text", ["", "2024-02-29", "2024-02-29 12:00:00Z", "2023-02-29T12:00:00Z", "2024-02-29T12:00:00"]
)
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match=r"parsing time"):
        time.parse(text)


def test_writing_takes_moments_and_unix_seconds():
    moment = datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC)
    assert time.rfc3339(moment) == time.rfc3339(moment.timestamp()) == "2024-02-29T12:00:00Z"
    assert time.rfc3339_micro(moment) == time.rfc3339_micro(moment.timestamp()) == "2024-02-29T12:00:00.123456Z"
    assert time.seconds("1970-01-01T00:01:00Z") == 60


@pytest.mark.parametrize(
    ("value", "total", "up", "down"),
    [("25%", 10, 3, 2), ("0%", 10, 0, 0), ("100%", 7, 7, 7), (3, 10, 3, 3), ("50%", 1, 1, 0)],
)
def test_scaling(value, total, up, down):
    assert intstr.scaled(value, total, round_up=True) == up
    assert intstr.scaled(value, total, round_up=False) == down


@pytest.mark.parametrize("value", ["", "5", "%", "x%", "1.5%", "-5%"])
def test_what_is_no_percentage(value):
    assert not intstr.is_percent(value)
    with pytest.raises(ValueError, match="not a percentage"):
        intstr.scaled(value, 10, round_up=True)
