"""Replicas by the clock: an annotation of a HorizontalPodAutoscaler that raises its minimum in hours that are known.

`tiphys.dev/cron-scaling` holds a JSON list of what KEDA's cron trigger takes as metadata: `timezone`, `start`, `end`
(as a CronJob's schedule) and `desiredReplicas`. Between a start and the next end there are at least so many, of several
that apply the most, and never more than `maxReplicas`.
Source: https://keda.sh/docs/latest/scalers/cron/
"""

from __future__ import annotations

import zoneinfo
from functools import lru_cache

import msgspec

from tiphys.api.meta import Model
from tiphys.kinds.autoscaling.horizontalpodautoscaler import HorizontalPodAutoscaler
from tiphys.kinds.batch import cron

ANNOTATION = "tiphys.dev/cron-scaling"


class _Trigger(Model):
    """`desired_replicas` is a number or, as in KEDA, the text of one."""

    timezone: str
    start: str
    end: str
    desired_replicas: int | str


_Known = tuple[zoneinfo.ZoneInfo, cron.Schedule, cron.Schedule, int]


def raised(hpa: HorizontalPodAutoscaler, now: float) -> HorizontalPodAutoscaler:
    """The autoscaler with the minimum that it has at this time (unix seconds). Raises ValueError."""
    text = hpa.metadata.annotations.get(ANNOTATION, "")
    if not text:
        return hpa
    wanted = max((count for zone, start, end, count in _triggers(text) if _applies(zone, start, end, now)), default=0)
    spec = hpa.spec
    lowest = min(max(spec.min_replicas, wanted), spec.max_replicas)
    return msgspec.structs.replace(hpa, spec=msgspec.structs.replace(spec, min_replicas=lowest))


def _applies(zone: zoneinfo.ZoneInfo, start: cron.Schedule, end: cron.Schedule, now: float) -> bool:
    """Whether the next end comes before the next start."""
    ends, starts = (cron.next_after(schedule, now, zone) for schedule in (end, start))
    return ends is not None and (starts is None or ends < starts)


@lru_cache(maxsize=256)
def _triggers(text: str) -> tuple[_Known, ...]:
    try:
        given = msgspec.json.decode(text, type=list[_Trigger])
    except msgspec.DecodeError as error:
        raise ValueError(f"annotation {ANNOTATION}: {error}") from None
    return tuple(_known(each) for each in given)


def _known(trigger: _Trigger) -> _Known:
    try:
        count = int(trigger.desired_replicas)
        if count < 0:
            raise ValueError(f"desiredReplicas is {count}, which is less than 0")
        zone = zoneinfo.ZoneInfo(trigger.timezone)
        return zone, cron.parse(trigger.start), cron.parse(trigger.end), count
    except (ValueError, zoneinfo.ZoneInfoNotFoundError) as error:
        raise ValueError(f"annotation {ANNOTATION}: {error}") from None
