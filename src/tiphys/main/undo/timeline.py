"""What became of one object, a line for each change: when, by whom, and which fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson

from tiphys.api.resource import Json
from tiphys.main.backup.history import Change
from tiphys.main.undo.plan import differences

CREATED, CHANGED, STATUS, DELETED, KNOWN = "created", "changed", "status", "deleted", "known"
_SILENT = ("resourceVersion", "managedFields", "generation")


@dataclass(frozen=True, slots=True)
class Entry:
    """`what` is one of the five above: `known` is the state where the history begins. `by` is a field manager."""

    revision: int
    time: float
    what: str
    by: str
    fields: tuple[str, ...]
    obj: Json | None


def timeline(changes: Iterable[Change]) -> Iterator[Entry]:
    """From changes of one key in order."""
    last: Json | None = None
    begun = False
    for change in changes:
        obj: Json | None = orjson.loads(change.value) if change.value is not None else None
        if obj is None:
            yield Entry(change.revision, change.time, DELETED, "", (), last)
        elif last is None:
            yield Entry(
                change.revision, change.time, CREATED if begun or _is_new(obj, change) else KNOWN, _by(obj), (), obj
            )
        else:
            fields = tuple(differences(_told(last), _told(obj)))
            status = bool(fields) and all(field.startswith("status.") for field in fields)
            yield Entry(change.revision, change.time, STATUS if status else CHANGED, _by(obj), fields, obj)
        last, begun = obj, True


def _is_new(obj: Json, change: Change) -> bool:
    """Whether the first that is known of an object is its creation."""
    from tiphys.api.time import seconds

    return change.time - seconds(obj["metadata"].get("creationTimestamp") or "1970-01-01T00:00:00Z") < 2.0


def _told(obj: Json) -> Json:
    meta = {name: value for name, value in obj["metadata"].items() if name not in _SILENT}
    return {**obj, "metadata": meta}


def _by(obj: Json) -> str:
    """The manager that wrote last, as far as managed fields tell."""
    entries = obj["metadata"].get("managedFields") or ()
    latest = max(entries, key=lambda entry: entry.get("time") or "", default=None)
    return str(latest.get("manager", "")) if latest else ""
