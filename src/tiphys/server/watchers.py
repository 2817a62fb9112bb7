"""The watcher of one request: what it selects, and where the cache's indexes need to look for it.

A version that does not show objects as they are stored has one that converts before it selects: what is shown decides
whether an object is selected, so changes are kept as they come and become events, converted together, when taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from tiphys.api.selectors import FieldSelector
from tiphys.server.cache import Change, Entry, Watcher, unspliced
from tiphys.server.call import Call
from tiphys.server.heads import PLAIN
from tiphys.store import Record

_Selects = Callable[[Entry], bool]


class Chosen(Protocol):
    prefix: str
    fields: FieldSelector | None

    def matches(self, entry: Entry) -> bool: ...


def watcher_of(call: Call, chosen: Chosen) -> Watcher:
    """A watcher with the narrowest index that the request allows."""
    name, exact = call.target.name, None
    for field, operator, value in chosen.fields.requirements if chosen.fields is not None else ():
        if operator == "=" and field == "metadata.name":
            name = name or value
        elif operator == "=" and field != "metadata.namespace":
            exact = (field, value)
    namespace = call.target.namespace if call.hub.namespaced else ""

    def within(entry: Entry) -> bool:
        return entry.key.startswith(chosen.prefix) and (not name or entry.name == name)

    def named(entry: Entry) -> bool:
        return entry.name == call.target.name and chosen.matches(entry)

    if call.resource.view is not None:
        return ShownWatcher(call.resource.view, chosen.matches, within, (namespace, name))
    return Watcher(named if call.target.name else chosen.matches, namespace, name, exact)


class ShownWatcher(Watcher):
    """`view` is the `server.custom.view.View` of the version; `within` tells by key alone what can be meant."""

    def __init__(self, view: Any, selects: _Selects, within: _Selects, place: tuple[str, str]) -> None:
        """`place` is namespace and name of what is watched, each perhaps empty."""
        super().__init__(within, *place)
        self._view, self._selects = view, selects
        self._changes: list[Change] = []

    def offer(self, change: Change) -> None:
        entry = change.new or change.gone or change.old
        if entry is not None and not self.lost and self.matches(entry):
            self._changes.append(change)
            self.push("", entry)

    async def next(self) -> Sequence[tuple[str, Entry]]:
        """As `Watcher.next`, of what is selected. Raises ConversionFailed besides."""
        while await super().next():
            changes, self._changes = self._changes, []
            pairs = ((change.old, change.new or change.gone) for change in changes)
            shown = iter(await self._view.show([entry for pair in pairs for entry in pair if entry is not None]))
            events = [event for change in changes if (event := self._event(change, shown)) is not None]
            if events:
                return events
        return ()

    def _event(self, change: Change, shown: Iterator[Entry]) -> tuple[str, Entry] | None:
        old = next(shown) if change.old is not None else None
        new = next(shown) if change.new is not None or change.gone is not None else None
        before = old is not None and self._selects(old)
        if change.new is not None and new is not None and self._selects(new):
            return "MODIFIED" if before else "ADDED", new
        if not before or old is None:
            return None
        record = unspliced(old)
        return "DELETED", Entry(Record(record.key, record.value, change.revision, record.created), PLAIN)
