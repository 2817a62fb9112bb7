"""Minimums by the clock, as KEDA's cron trigger has them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from autoscaled import autoscaler

from tiphys.controllers.horizontalpodautoscaler_cron import ANNOTATION, raised

OFFICE = {"timezone": "Europe/Berlin", "start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "desiredReplicas": "6"}
NOON = {"timezone": "Europe/Berlin", "start": "0 12 * * *", "end": "0 13 * * *", "desiredReplicas": 9}


def least(text: str, moment: str, zone: str = "Europe/Berlin") -> int:
    hpa = autoscaler(minReplicas=2, maxReplicas=8)
    meta = msgspec.structs.replace(hpa.metadata, annotations={ANNOTATION: text} if text else {})
    at = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo(zone)).timestamp()
    return raised(msgspec.structs.replace(hpa, metadata=meta), at).spec.min_replicas


@pytest.mark.parametrize(
    ("triggers", "moment", "wanted"),
    [
        ([OFFICE], "2026-11-24T07:59", 2),
        ([OFFICE], "2026-11-24T08:00", 6),
        ([OFFICE], "2026-11-24T17:59", 6),
        ([OFFICE], "2026-11-24T18:00", 2),
        ([OFFICE], "2026-11-28T12:00", 2),  # a Saturday
        ([OFFICE], "2026-07-24T08:30", 6),  # in summer, by the clocks there
        ([OFFICE, NOON], "2026-11-24T12:30", 8),  # the most, but no more than may be
        ([], "2026-11-24T12:30", 2),
    ],
)
def test_between_start_and_end_there_are_more(triggers: Any, moment: str, wanted: int) -> None:
    assert least(json.dumps(triggers), moment) == wanted


def test_the_time_is_that_of_the_zone() -> None:
    assert least(json.dumps([OFFICE]), "2026-11-24T07:30", "UTC") == 6
    assert least("", "2026-11-24T12:30") == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x", "malformed"),
        ("[{}]", "missing required field"),
        (json.dumps([{**OFFICE, "timezone": "Mars/Olympus"}]), "Mars/Olympus"),
        (json.dumps([{**OFFICE, "start": "often"}]), "often|fields"),
        (json.dumps([{**OFFICE, "desiredReplicas": "many"}]), "many"),
        (json.dumps([{**OFFICE, "desiredReplicas": -1}]), "less than 0"),
    ],
)
def test_what_cannot_be_read_is_told_of(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        least(text, "2026-11-24T12:30")
