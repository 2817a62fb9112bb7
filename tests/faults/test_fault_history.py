"""The checker of histories finds each kind of violation in a history made by hand, and none in a good one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from figures import longest_gap, report
from history import FAIL, OK, UNKNOWN, History, Operation, Seen, Watched, check


def write(begun: float, key: str, value: str, revision: int, *, expect: int = 0, client: str = "a", outcome: str = OK):
    kind = "update" if expect else "create"
    return Operation(client, kind, begun, begun + 1, outcome, key, value, expect, revision if outcome == OK else 0)


def read(begun: float, key: str, value: str | None, revision: int = 0, client: str = "b"):
    return Operation(client, "get", begun, begun + 1, OK, key, value, revision=revision)


def removal(begun: float, key: str, expect: int, outcome: str = OK):
    return Operation("a", "delete", begun, begun + 1, outcome, key, expect=expect)


def listing(begun: float, revision: int, **found: tuple[str, int]):
    return Operation("c", "list", begun, begun + 1, OK, revision=revision, found=found)


def watched(*events: tuple[int, str, str | None], after: int = 0, watcher: str = "w"):
    return Watched(watcher, after, [Seen(float(revision), key, revision, value) for revision, key, value in events])


def good() -> History:
    """x is made (1), changed (2), removed (4) and made anew (5); y is made (3) by a write whose answer was lost."""
    operations = [
        write(0, "x", "x1", 1),
        read(2, "x", "x1", 1),
        write(4, "x", "x2", 2, expect=1),
        write(5, "x", "lost", 0, expect=1, outcome=FAIL),
        write(6, "y", "y1", 3, outcome=UNKNOWN),
        listing(8, 3, x=("x2", 2), y=("y1", 3)),
        removal(10, "x", 2),
        read(12, "x", None),
        write(14, "x", "x3", 5),
        write(15, "z", "z1", 0, outcome=UNKNOWN),
        listing(20, 6, x=("x3", 5), y=("y1", 3)),
    ]
    events = [(1, "x", "x1"), (2, "x", "x2"), (3, "y", "y1"), (4, "x", None), (5, "x", "x3")]
    return History(operations, [watched(*events)], {"w"}, 5)


def rules(history: History) -> set[str]:
    return {violation.rule for violation in check(history)}


def altered(index: int, **changes: object) -> History:
    history = good()
    history.operations[index] = replace(history.operations[index], **changes)
    return history


def added(*operations: Operation) -> History:
    history = good()
    history.operations += operations
    return history


def test_a_good_history_has_no_violation():
    assert check(good()) == []


def test_what_overlaps_may_be_in_any_order():
    history = added(read(3.5, "x", "x1", 1, client="d"), read(4.5, "x", "x2", 2, client="e"))
    assert check(history) == []


@pytest.mark.parametrize(
    ("history", "rule"),
    [
        (altered(1, value="y1"), "one revision, one state"),
        (altered(2, revision=4), "one revision, one state"),
        (added(read(30, "x", "nobody", 7)), "nothing from nowhere"),
        (altered(6, outcome=FAIL), "nothing from nowhere"),
        (altered(2, outcome=FAIL), "refused means not done"),
        (altered(2, expect=3), "compare and swap"),
        (altered(8, expect=2, kind="update"), "compare and swap"),
        (added(removal(30, "y", 3)), "no write is lost"),
        (added(read(30, "x", "x2", 2)), "nothing goes back"),
        (added(read(30, "x", None)), "nothing goes back"),
        (added(read(30, "y", None)), "nothing goes back"),
        (added(listing(30, 3, x=("x2", 2), y=("y1", 3))), "nothing goes back"),
        (added(listing(30, 7, x=("x3", 5))), "nothing goes back"),
        (altered(0, begun=40.0, ended=41.0), "nothing from the future"),
    ],
)
def test_a_violation_is_found(history: History, rule: str):
    assert rule in rules(history)


def test_a_lost_write_is_found_though_nobody_read_since():
    history = added(write(30, "z", "z9", 9))
    history.last = 9
    assert rules(history) == {"a watch has no gap"}


def test_a_write_that_happened_twice_is_found():
    history = good()
    history.watched[0].events.append(Seen(9.0, "x", 8, "x3"))
    history.last = 8
    assert "a write happens once" in rules(history)


def test_a_watch_that_repeats_or_goes_back_is_found():
    history = good()
    history.watched[0].events.insert(2, history.watched[0].events[0])
    assert rules(history) == {"a watch goes forward"}


def test_a_watch_with_a_gap_is_found():
    history = good()
    del history.watched[0].events[2]
    history.watched.append(watched((3, "y", "y1"), (4, "x", None), after=2, watcher="v"))
    history.finished.add("v")
    found = check(history)
    assert {violation.rule for violation in found} == {"a watch has no gap"}
    assert len(found) == 2


def test_a_watch_that_had_to_list_again_begins_anew():
    history = good()
    history.watched += [watched((1, "x", "x1"), watcher="v"), watched((5, "x", "x3"), after=4, watcher="v")]
    history.finished.add("v")
    assert check(history) == []
    assert "1 new lists" in report(history, [], [])


def test_a_watch_that_stops_short_is_found():
    history = good()
    history.finished.clear()
    assert rules(history) == {"a watch comes to the end"}


def test_unavailability_is_the_longest_time_without_an_answer():
    operations = [write(0, "x", "a", 1), write(10, "x", "b", 2, outcome=UNKNOWN), write(15, "x", "c", 3)]
    assert longest_gap(operations, ("create",)) == 15
