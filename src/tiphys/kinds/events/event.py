"""Event as events.k8s.io/v1 serves it: the same objects as core/v1's under other names.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

from tiphys.api.meta import Object
from tiphys.api.resource import Json
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


EVENTS_V1 = declare(
    Object, group="events.k8s.io", version="v1", kind="Event", plural="events", short_names=("ev",),
    create_on_update=True,
    hub=EVENTS, to_hub=to_hub, from_hub=from_hub,
    selectable_fields=EVENTS.selectable_fields,
    columns=through_hub(EVENTS.columns, to_hub),
)  # fmt: skip
