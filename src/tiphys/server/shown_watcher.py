"""The watcher of a version that does not show objects as they are stored: it converts before it selects.

What a version shows decides whether an object is selected, so changes are kept as they come and become events only when
they are taken, converted together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tiphys.server.cache import Change, Entry, Watcher, unspliced
from tiphys.store import Record

_Selects = Callable[[Entry], bool]


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
        return "DELETED", Entry(Record(record.key, record.value, change.revision, record.created), {})
