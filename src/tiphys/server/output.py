"""What clients get: an object, a list or a watch line as JSON, as a Table or as metadata only.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import orjson

from tiphys.api.registry import AnyResource
from tiphys.api.resource import Column, Json
from tiphys.api.time import age, seconds
from tiphys.server.cache import Entry
from tiphys.server.negotiation import Form

# Objects that are worked on before other requests may go on: a few milliseconds.
_TURN = 64
_LINE = {kind: b'{"type":"%b","object":' % kind.encode() for kind in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK")}


def as_version(resource: AnyResource, entry: Entry) -> bytes:
    """The object in the version that was asked for."""
    convert = resource.from_hub
    if convert is None:
        return entry.data
    return entry.form(resource.version, lambda e: orjson.dumps(convert(e.decode())))


def object_body(resource: AnyResource, entry: Entry, form: Form, now: float) -> bytes:
    if form.shape == "table":
        return table(resource, [entry], {"resourceVersion": str(entry.revision)}, form, now)
    if form.shape == "partial":
        return _partial(entry)
    return as_version(resource, entry)


async def list_body(resource: AnyResource, entries: Sequence[Entry], meta: Json, form: Form, now: float) -> bytes:
    """What takes work for every object gives way to other requests now and then."""
    if form.shape == "table":
        rows = await _in_turns(partial(_row, resource, form, now), entries)
        return _table(resource, rows, meta, header=True)
    if form.shape == "partial":
        kind, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
        items = await _in_turns(_partial, entries)
    else:
        kind, version = resource.list_kind, resource.api_version
        converted = resource.from_hub is not None
        items = await _in_turns(partial(as_version, resource), entries) if converted else [e.data for e in entries]
    head = orjson.dumps({"kind": kind, "apiVersion": version, "metadata": meta})[:-1] + b',"items":['
    if not items:
        return head + b"]}"
    # The frame goes around the first and the last item, so that the whole is copied only once.
    items[0] = head + items[0]
    items[-1] += b"]}"
    return b",".join(items)


def watch_lines(resource: AnyResource, form: Form, clock: Callable[[], float]) -> Callable[[str, Entry], bytes]:
    """The encoder of one watch: (type, entry) to a line. Plain lines are made once and shared by all watchers."""
    if form.shape == "table":
        first = [True]

        def row(kind: str, entry: Entry) -> bytes:
            body = table(resource, [entry], {"resourceVersion": str(entry.revision)}, form, clock(), header=first[0])
            first[0] = False
            return b"%b%b}\n" % (_LINE[kind], body)

        return row
    if form.shape == "partial":
        return lambda kind, entry: b"%b%b}\n" % (_LINE[kind], _partial(entry))
    if resource.from_hub is not None:
        return lambda kind, entry: b"%b%b}\n" % (_LINE[kind], as_version(resource, entry))
    # Copying the shared bytes into a frame is cheaper than keeping a frame for every object.
    return lambda kind, entry: b"%b%b}\n" % (_LINE[kind], entry.data)


def bookmark(resource: AnyResource, revision: int, form: Form, *, initial_end: bool = False) -> bytes:
    meta: Json = {"resourceVersion": str(revision)}
    if initial_end:
        meta["annotations"] = {"k8s.io/initial-events-end": "true"}
    obj: Json = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}
    if form.shape == "partial":
        obj |= {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
    elif form.shape == "table":
        row = {"cells": [], "object": obj | {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}}
        obj = {
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": meta,
            "columnDefinitions": [],
            "rows": [row],
        }
    return b"%b%b}\n" % (_LINE["BOOKMARK"], orjson.dumps(obj))


def _partial(entry: Entry) -> bytes:
    meta = entry.decode()["metadata"]
    return orjson.dumps({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta})


def _created(obj: Json, now: float) -> str:
    created = obj["metadata"].get("creationTimestamp")
    return age(now - seconds(created)) if created else "<unknown>"


_NAME = Column("Name", lambda obj, now: obj["metadata"].get("name", ""), format="name")
_DEFAULT_COLUMNS = (_NAME, Column("Age", _created))


async def _in_turns(make: Callable[[Entry], bytes], entries: Sequence[Entry]) -> list[bytes]:
    made: list[bytes] = []
    for start in range(0, len(entries), _TURN):
        if start:
            await asyncio.sleep(0)
        made += map(make, entries[start : start + _TURN])
    return made


def table(
    resource: AnyResource, entries: Iterable[Entry], meta: Json, form: Form, now: float, *, header: bool = True
) -> bytes:
    return _table(resource, [_row(resource, form, now, entry) for entry in entries], meta, header=header)


def _table(resource: AnyResource, rows: Sequence[bytes], meta: Json, *, header: bool) -> bytes:
    columns = [_definition(column) for column in resource.columns or _DEFAULT_COLUMNS] if header else []
    head: Json = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "columnDefinitions": columns}
    return b'%b,"rows":[%b]}' % (orjson.dumps(head)[:-1], b",".join(rows))


def _row(resource: AnyResource, form: Form, now: float, entry: Entry) -> bytes:
    obj = orjson.loads(as_version(resource, entry))
    cells = [column.value(obj, now) for column in resource.columns or _DEFAULT_COLUMNS]
    return orjson.dumps({"cells": cells, "object": _row_object(obj, form)})


def _definition(column: Column) -> Json:
    return {
        "name": column.name, "type": column.type, "format": column.format,
        "description": column.description, "priority": column.priority,
    }  # fmt: skip


def _row_object(obj: Json, form: Form) -> Json | None:
    if form.include == "Object":
        return obj
    if form.include == "None":
        return None
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
