"""Event as events.k8s.io/v1 serves it: the same objects as core/v1's under other names.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError, invalid, required
from tiphys.api.meta import Object
from tiphys.api.resource import Json, Strategy
from tiphys.kinds.checks import IMMUTABLE, immutable
from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.declare import declare, through_hub

# events.k8s.io/v1 -> core/v1.
_NAMES = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_NAMES_BACK = {core: name for name, core in _NAMES.items()}


def to_hub(obj: Json) -> Json:
    """events.k8s.io/v1 to core/v1."""
    return {_NAMES.get(name, name): value for name, value in obj.items()} | {"apiVersion": "v1"}


def from_hub(obj: Json) -> Json:
    """core/v1 to events.k8s.io/v1."""
    return {_NAMES_BACK.get(name, name): value for name, value in obj.items()} | {"apiVersion": "events.k8s.io/v1"}


class StrictEventStrategy(Strategy):
    """What this version asks for besides what core/v1 does; of the object in core/v1's shape, as upstream's is."""

    def validate(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        if old is None or new.get("series") != old.get("series"):
            yield from _check_series(new.get("series"))
        if old is not None:
            yield from immutable(new, old, *_LASTING)
            reporter = new.get("reportingComponent")
            if reporter != old.get("reportingComponent"):
                yield invalid("reportingController", reporter, IMMUTABLE)
            yield from immutable(new, old, "reportingInstance")
            return
        if not new.get("eventTime"):
            yield required("eventTime")
        kind = new.get("type") or ""
        if kind not in ("Normal", "Warning"):
            yield invalid("type", "", f"has invalid value: {kind}")
        for field in ("firstTimestamp", "lastTimestamp", "count", "source"):
            value = new.get(field)
            if any(value.values()) if isinstance(value, dict) else value:
                yield invalid(field, "", "needs to be unset")


_LASTING = (
    "involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count", "type", "eventTime",
    "action", "related",
)  # fmt: skip


def _check_series(series: Json | None) -> Iterator[FieldError]:
    if series is None:
        return
    if (series.get("count") or 0) < 2:
        yield invalid("series.count", "", "should be at least 2")
    if not series.get("lastObservedTime"):
        yield required("series.lastObservedTime")


EVENTS_V1 = declare(
    Object, group="events.k8s.io", version="v1", kind="Event", plural="events", short_names=("ev",),
    create_on_update=True,
    hub=EVENTS, to_hub=to_hub, from_hub=from_hub,
    selectable_fields=EVENTS.selectable_fields,
    columns=through_hub(EVENTS.columns, to_hub), strategy=StrictEventStrategy(),
)  # fmt: skip
