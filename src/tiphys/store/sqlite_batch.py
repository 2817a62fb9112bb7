"""The writes of one transaction of a SQLite store, worked out before the file is touched.

What stands under each key is known from the writes before or asked of the file in one query, and what becomes of it
goes into the file in few statements: each costs the writer's thread a turn of Python's lock, which a busy event loop
lets it have only now and then.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from tiphys.store.protocol import ABSENT, ANY, Conflict, Event, Record, Revision

# Rows of one statement; the rest goes by the next smaller number, so that few different statements are ever compiled.
_SIZES = (64, 8, 1)
# Bytes of values that are remembered.
_REMEMBERED = 8 * 1024 * 1024

_STANDING = """
SELECT log.key, log.value, log.revision, log.created
FROM current JOIN log ON log.revision = current.revision WHERE current.key IN ({})
"""
_INSERT = "INSERT INTO log (revision, key, created, previous, value) VALUES {}"
_POINT = "INSERT OR REPLACE INTO current (key, revision) VALUES {}"
_UNPOINT = "DELETE FROM current WHERE key IN ({})"


class Batch:
    """`standing` has what is under the keys that will be written; a key without anything is not in it."""

    def __init__(self, standing: Mapping[str, Record], revision: Revision) -> None:
        self.revision = revision
        self.events: list[Event] = []
        # What stands under the keys that were written; None for nothing any more.
        self.outcome: dict[str, Record | None] = {}
        self._standing = standing

    def apply(self, key: str, value: bytes | None, expect: Revision) -> Revision | Conflict:
        """A put, or with `value` None a delete: its revision, or why it is not done."""
        previous = self.outcome[key] if key in self.outcome else self._standing.get(key)
        found = previous.revision if previous else ABSENT
        if expect not in (ANY, found) or (value is None and previous is None):
            return Conflict(key, previous)
        revision = self.revision = self.revision + 1
        created = previous.created if previous else revision
        self.outcome[key] = Record(key, value, revision, created) if value is not None else None
        self.events.append(Event(key, revision, value, previous))
        return revision

    def save(self, connection: sqlite3.Connection) -> None:
        """Inside a transaction. Raises sqlite3.Error."""
        rows = [
            (e.revision, e.key, e.previous.created if e.previous else e.revision,
             e.previous.revision if e.previous else ABSENT, e.value)
            for e in self.events
        ]  # fmt: skip
        points = [(key, record.revision) for key, record in self.outcome.items() if record is not None]
        gone = [(key,) for key, record in self.outcome.items() if record is None]
        for statement, row, values in (
            (_INSERT, "(?,?,?,?,?)", rows), (_POINT, "(?,?)", points), (_UNPOINT, "?", gone),
        ):  # fmt: skip
            for chunk in _chunks(values):
                connection.execute(statement.format(",".join([row] * len(chunk))), list(chain.from_iterable(chunk)))


class Standing:
    """What stands under the keys that were written last, of which most are written again soon."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Record] = OrderedDict()
        self._bytes = 0

    def of(self, connection: sqlite3.Connection, keys: Iterable[str]) -> Mapping[str, Record]:
        """Raises sqlite3.Error."""
        wanted = set(keys)
        found = {key: self._known[key] for key in wanted if key in self._known}
        for chunk in _chunks([key for key in wanted if key not in found]):
            for row in connection.execute(_STANDING.format(",".join("?" * len(chunk))), chunk):
                found[row[0]] = Record(*row)
        return found

    def take(self, outcome: Mapping[str, Record | None]) -> None:
        """Learn what a transaction made of the keys."""
        for key, record in outcome.items():
            before = self._known.pop(key, None)
            self._bytes += (len(record.value) if record else 0) - (len(before.value) if before else 0)
            if record is not None:
                self._known[key] = record
        while self._bytes > _REMEMBERED:
            _, oldest = self._known.popitem(last=False)
            self._bytes -= len(oldest.value)

    def forget(self) -> None:
        self._known.clear()
        self._bytes = 0


def _chunks(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    at = 0
    for size in _SIZES:
        while len(values) - at >= size:
            yield values[at : at + size]
            at += size
