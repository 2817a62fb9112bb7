"""Event, the core/v1 form: the stored one. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, invalid, required
from tiphys.api.meta import Model, ObjectMeta, ObjectReference
from tiphys.api.resource import Column, Json, TextAt
from tiphys.kinds.checks import follows
from tiphys.kinds.columns import NAME, at, column, since
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, text_at
from tiphys.kinds.strategy import KindStrategy


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


_source = TextAt(("source", "component"), otherwise=("reportingComponent",))


_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def _last_seen(obj: Json, now: float) -> str:
    text = dig(obj, "series", "lastObservedTime") or obj.get("lastTimestamp") or obj.get("eventTime")
    return since(text, now)


def _first_seen(obj: Json, now: float) -> str:
    return since(obj.get("firstTimestamp") or obj.get("eventTime"), now)


def _object(obj: Json) -> str:
    involved = obj.get("involvedObject") or {}
    return f"{(involved.get('kind') or '').lower()}/{involved.get('name') or ''}"


def _emitter(obj: Json) -> str:
    host = dig(obj, "source", "host") or obj.get("reportingInstance")
    return ", ".join(part for part in (_source(obj), host) if part)


COLUMNS = (
    Column("Last Seen", _last_seen),
    at("Type", "type"),
    at("Reason", "reason"),
    column("Object", _object),
    at("Subobject", "involvedObject", "fieldPath", wide=True),
    column("Source", _emitter, wide=True),
    column("Message", lambda obj: (obj.get("message") or "").strip()),
    Column("First Seen", _first_seen, priority=1),
    column("Count", lambda obj: dig(obj, "series", "count") or obj.get("count") or 1, wide=True),
    Column("Name", NAME.value, format="name", priority=1),
)


class EventStrategy(KindStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        namespace = dig(new, "metadata", "namespace") or ""
        involved = dig(new, "involvedObject", "namespace") or ""
        timed = bool(new.get("eventTime"))
        # Objects without a namespace have their events in one of these.
        free = ("default", "kube-system") if timed else ("default",)
        if (not involved and namespace not in free) or (involved and not timed and involved != namespace):
            yield invalid("involvedObject.namespace", involved, "does not match event.namespace")
        if timed:
            yield from _check_new(new)


_MAX_WORD, _MAX_MESSAGE = 128, 1024


def _check_new(event: Json) -> Iterator[FieldError]:
    """An event of the new kind, which says what was done and who reports it."""
    reporter = event.get("reportingComponent") or ""
    if not reporter:
        yield required("reportingController")
    yield from follows(reporter, "reportingController", names.qualified_name)
    for field in ("reportingInstance", "action", "reason"):
        value = event.get(field) or ""
        if not value:
            yield required(field)
        elif len(value.encode()) > _MAX_WORD:
            yield invalid(field, "", f"can have at most {_MAX_WORD} characters")
    if len((event.get("message") or "").encode()) > _MAX_MESSAGE:
        yield invalid("message", "", f"can have at most {_MAX_MESSAGE} characters")


EVENTS = declare(
    Event, group="", version="v1", kind="Event", plural="events", short_names=("ev",),
    create_on_update=True,
    selectable_fields={
        **{f"involvedObject.{name}": text_at("involvedObject", name) for name in _INVOLVED},
        # Selectors are matched on the stored form: what events.k8s.io/v1 calls these is known here too.
        **{f"regarding.{name}": text_at("involvedObject", name) for name in _INVOLVED},
        "reportingController": text_at("reportingComponent"),
        "reason": text_at("reason"),
        "reportingComponent": text_at("reportingComponent"),
        "source": _source,
        "type": text_at("type"),
    },
    columns=COLUMNS, strategy=EventStrategy(),
)  # fmt: skip
