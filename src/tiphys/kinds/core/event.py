"""Event, the core/v1 form: the stored one. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta, ObjectReference
from tiphys.api.resource import Json
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, text_at


class EventSource(Model):
    component: str = ""
    host: str = ""


class EventSeries(Model):
    count: int = 0
    last_observed_time: str | None = None


class Event(Model):
    metadata: ObjectMeta = ObjectMeta()
    involved_object: ObjectReference = ObjectReference()
    related: ObjectReference | None = None
    type: str = ""
    reason: str = ""
    message: str = ""
    action: str = ""
    source: EventSource = EventSource()
    reporting_component: str = ""
    reporting_instance: str = ""
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    event_time: str | None = None
    count: int = 0
    series: EventSeries | None = None


def _source(obj: Json) -> str:
    return dig(obj, "source", "component") or obj.get("reportingComponent") or ""


_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")

EVENTS = declare(
    Event, group="", version="v1", kind="Event", plural="events", short_names=("ev",),
    selectable_fields={
        **{f"involvedObject.{name}": text_at("involvedObject", name) for name in _INVOLVED},
        "reason": text_at("reason"),
        "reportingComponent": text_at("reportingComponent"),
        "source": _source,
        "type": text_at("type"),
    },
)  # fmt: skip
