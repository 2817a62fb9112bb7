"""What clients did and saw of a register per key, and what is wrong with it.

Every state of a key has a revision, and revisions are one order of all writes; so instead of searching for an order
that explains a history, it is enough to know who wrote at which revision (acknowledgements, reads and watches all tell)
and to ask of each operation whether it fits:

- a revision has one key and one value, and somebody wrote that value who was not refused;
- a write that compared is the next one of its key after what it compared with;
- in real time, and among all clients, nothing goes back: an operation that began after another one had ended has its
  place in the order no earlier, and nobody sees what was written only later;
- a watch shows each revision of its range once, in order, without a gap, up to where it ends.

An operation whose answer was lost may have happened or not. The check of "nothing goes back" is exact: taken in the
order of their beginnings, each operation gets the earliest place that it can have.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

OK, FAIL, UNKNOWN = "ok", "fail", "unknown"
WRITES, READS = ("create", "update", "delete"), ("get", "list")
_FOREVER = 2**62


@dataclass(frozen=True)
class Operation:
    """`begun` and `ended` in seconds of one monotonic clock. `value` is what was written or read (None: no such key).

    `expect` is the revision that a write compared with (0: that there is none). `revision` is that of the state written
    or read, where the answer tells. `found` is what a list showed: (value, revision) by key, as of `revision`.
    """

    client: str
    kind: str
    begun: float
    ended: float
    outcome: str
    key: str = ""
    value: str | None = None
    expect: int = 0
    revision: int = 0
    found: Mapping[str, tuple[str, int]] | None = None
    error: str = ""


@dataclass(frozen=True)
class Seen:
    """One event of a watch; `value` is None for a removal."""

    at: float
    key: str
    revision: int
    value: str | None


@dataclass
class Watched:
    """What one watch saw after revision `after`, over all its connections. Another one begins where it had to list."""

    watcher: str
    after: int
    events: list[Seen] = field(default_factory=list)

    @property
    def until(self) -> int:
        return self.events[-1].revision if self.events else self.after


@dataclass
class History:
    """`watched` in order; `finished` are the watchers that came up to the last write of all, `last`."""

    operations: list[Operation] = field(default_factory=list)
    watched: list[Watched] = field(default_factory=list)
    finished: set[str] = field(default_factory=set)
    last: int = 0


@dataclass(frozen=True)
class Violation:
    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


class _Timeline:
    """The states of every key: revisions in order, and the value from each of them on (None: removed)."""

    def __init__(self) -> None:
        self.values: dict[int, tuple[str, str | None]] = {}
        self._revisions: dict[str, list[int]] = {}

    def order(self) -> None:
        self._revisions = {}
        for revision in sorted(self.values):
            self._revisions.setdefault(self.values[revision][0], []).append(revision)

    @property
    def keys(self) -> Set[str]:
        return self._revisions.keys()

    def of(self, key: str) -> Sequence[int]:
        return self._revisions.get(key, ())

    def after(self, key: str, revision: int) -> int:
        """The next revision of a key."""
        revisions = self.of(key)
        at = bisect_right(revisions, revision)
        return revisions[at] if at < len(revisions) else _FOREVER

    def before(self, key: str, revision: int) -> int:
        """The revision of a key's state just before one; 0 where there was none yet."""
        revisions = self.of(key)
        at = bisect_left(revisions, revision)
        return revisions[at - 1] if at else 0

    def state(self, key: str, revision: int) -> str | None:
        """The value as of a revision."""
        last = self.before(key, revision + 1)
        return self.values[last][1] if last else None

    def absent(self, key: str, earliest: int) -> int:
        """The first place from `earliest` on at which there is no such key."""
        if self.state(key, earliest) is None:
            return earliest
        return next((r for r in self.of(key) if r > earliest and self.values[r][1] is None), _FOREVER)


def check(history: History) -> list[Violation]:
    """All violations, in no order that matters."""
    timeline = _Timeline()
    found = [*_states(history, timeline)]
    timeline.order()
    found += _authors(history, timeline)
    found += _comparisons(history, timeline)
    found += _real_time(history, timeline)
    found += _watches(history, timeline)
    return found


def _told(history: History) -> Iterator[tuple[int, str, str | None, str]]:
    """(revision, key, value, who says so) of every state that anybody knows of."""
    for operation in history.operations:
        who = f"{operation.client} {operation.kind}"
        if operation.outcome != OK:
            continue
        if operation.found is not None:
            for key, (value, revision) in operation.found.items():
                yield revision, key, value, who
        elif operation.revision:
            value = None if operation.kind == "delete" else operation.value
            yield operation.revision, operation.key, value, who
    for watched in history.watched:
        for seen in watched.events:
            yield seen.revision, seen.key, seen.value, f"watch {watched.watcher}"


def _states(history: History, timeline: _Timeline) -> Iterator[Violation]:
    for revision, key, value, who in _told(history):
        known = timeline.values.setdefault(revision, (key, value))
        if known != (key, value):
            yield Violation("one revision, one state", f"{who} has {key}={value} at {revision}, others {known}")


def _authors(history: History, timeline: _Timeline) -> Iterator[Violation]:
    """Values come from writes that were not refused, and every acknowledged one is there."""
    written = {o.value: o for o in history.operations if o.kind in ("create", "update")}
    for revision, (key, value) in timeline.values.items():
        if value is None:
            continue
        author = written.get(value)
        if author is None:
            yield Violation("nothing from nowhere", f"{key}={value} at {revision} was written by nobody")
        elif author.outcome == FAIL:
            yield Violation("refused means not done", f"{key}={value} at {revision}: {author.error}")
        elif author.key != key:
            yield Violation("one revision, one state", f"{value} was written to {author.key} and is in {key}")
    places = Counter(value for _, value in timeline.values.values() if value is not None)
    for value, count in places.items():
        if count > 1:
            yield Violation("a write happens once", f"{value} has {count} revisions")
    removed = {(o.key, o.expect) for o in history.operations if o.kind == "delete" and o.outcome != FAIL}
    for revision, (key, value) in timeline.values.items():
        if value is None and (key, timeline.before(key, revision)) not in removed:
            yield Violation("nothing from nowhere", f"{key} was removed at {revision} by nobody")


def _comparisons(history: History, timeline: _Timeline) -> Iterator[Violation]:
    own = {value: revision for revision, (_, value) in timeline.values.items() if value is not None}
    for o in history.operations:
        if o.kind not in WRITES or o.outcome == FAIL:
            continue
        if o.kind == "delete":
            next_ = timeline.after(o.key, o.expect)
            # Its own answer need not tell the revision, but there is only one that it can have.
            if o.outcome == OK and (next_ == _FOREVER or timeline.values[next_][1] is not None):
                what = "nothing" if next_ == _FOREVER else f"{timeline.values[next_][1]} at {next_}"
                yield Violation("no write is lost", f"{o.client} removed {o.key} after {o.expect}; then came {what}")
            continue
        revision = own.get(o.value, 0)
        if not revision:
            continue
        last = timeline.before(o.key, revision)
        fits = (not last or timeline.values[last][1] is None) if o.expect == 0 else last == o.expect
        if not fits:
            what = f"{o.client} wrote {o.key}={o.value} at {revision} over {last}, but compared with {o.expect}"
            yield Violation("compare and swap", what)


def _real_time(history: History, timeline: _Timeline) -> Iterator[Violation]:
    """Give every operation its earliest place, no earlier than those that ended before it began."""
    began = {o.value: o.begun for o in history.operations if o.kind in ("create", "update")}
    ended: list[tuple[float, int]] = []
    floor = 0
    for o in sorted((o for o in history.operations if o.outcome == OK), key=lambda o: o.begun):
        while ended and ended[0][0] < o.begun:
            floor = max(floor, heapq.heappop(ended)[1])
        place, text = _place(o, timeline, floor)
        if place is None:
            yield Violation("nothing goes back", f"{o.client} {text}, but before it began {floor} was seen")
            continue
        yield from _from_the_future(o, began)
        heapq.heappush(ended, (o.ended, place))


def _place(o: Operation, timeline: _Timeline, floor: int) -> tuple[int | None, str]:
    """The earliest place of an operation that is not before `floor`; None where there is none; and what it did."""
    if o.kind == "delete":
        place = timeline.after(o.key, o.expect)
        return (place if place >= floor else None), f"removed {o.key} at {place}"
    if o.kind in WRITES:
        return (o.revision if o.revision >= floor else None), f"wrote {o.key}={o.value} at {o.revision}"
    if o.found is not None:
        text = f"listed as of {o.revision}"
        return (o.revision if o.revision >= floor and _is_state(o, timeline) else None), text
    if o.value is None:
        place = timeline.absent(o.key, floor)
        return (place if place < _FOREVER else None), f"found no {o.key}"
    over = timeline.after(o.key, o.revision)
    return (max(o.revision, floor) if over > floor else None), f"read {o.key}={o.value} of {o.revision}"


def _is_state(o: Operation, timeline: _Timeline) -> bool:
    """Whether a list shows exactly what there was."""
    found = o.found or {}
    keys = timeline.keys | found.keys()
    return all((found[key][0] if key in found else None) == timeline.state(key, o.revision) for key in keys)


def _from_the_future(o: Operation, began: Mapping[str | None, float]) -> Iterator[Violation]:
    values = [value for value, _ in o.found.values()] if o.found is not None else [o.value] if o.kind == "get" else []
    for value in values:
        if value is not None and began.get(value, 0.0) > o.ended:
            yield Violation("nothing from the future", f"{o.client} read {value} before anybody began to write it")


def _watches(history: History, timeline: _Timeline) -> Iterator[Violation]:
    order = sorted(timeline.values)
    for index, watched in enumerate(history.watched):
        seen = [event.revision for event in watched.events]
        for earlier, later in zip([watched.after, *seen], seen, strict=False):
            if later <= earlier:
                yield Violation("a watch goes forward", f"{watched.watcher} saw {later} after {earlier}")
        is_last = all(later.watcher != watched.watcher for later in history.watched[index + 1 :])
        until = watched.until
        if is_last:
            if watched.watcher not in history.finished:
                yield Violation("a watch comes to the end", f"{watched.watcher} stands at {until} of {history.last}")
            else:
                until = history.last
        wanted = order[bisect_right(order, watched.after) : bisect_right(order, until)]
        for missing in sorted(set(wanted) - set(seen)):
            yield Violation("a watch has no gap", f"{watched.watcher} did not see {missing} {timeline.values[missing]}")
