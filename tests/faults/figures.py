"""What a history under faults came to, as lines: operations, faults and what each cost, violations, unavailability."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from history import FAIL, OK, READS, UNKNOWN, WRITES, History, Operation, Violation


@dataclass(frozen=True)
class Fault:
    """One that was, with its times on the operations' clock."""

    name: str
    begun: float
    ended: float


def longest_gap(operations: Iterable[Operation], kinds: Sequence[str], begun: float = 0.0, ended: float = inf) -> float:
    """The longest time, some of it between `begun` and `ended`, in which no operation of these kinds was answered."""
    ends = sorted(o.ended for o in operations if o.kind in kinds and o.outcome == OK)
    return max((b - a for a, b in pairwise(ends) if b >= begun and a <= ended), default=0.0)


def report(history: History, violations: Sequence[Violation], faults: Sequence[Fault]) -> str:
    """What was done and found, as lines; times without an answer are those of all clients together."""
    kinds = Counter((o.kind, o.outcome) for o in history.operations)
    events = sum(len(watched.events) for watched in history.watched)
    watchers = {watched.watcher for watched in history.watched}
    lines = [f"operations: {len(history.operations)}"]
    for kind in (*WRITES, *READS):
        parts = [f"{kinds[kind, outcome]} {outcome}" for outcome in (OK, FAIL, UNKNOWN)]
        lines.append(f"  {kind + ':':8}{', '.join(parts)}")
    lines.append(f"watch events: {events}, {len(watchers)} watchers, {len(history.watched) - len(watchers)} new lists")
    lines.append(f"violations: {len(violations)}")
    lines += [f"  {violation}" for violation in violations[:20]]
    lines.append(f"faults: {len(faults)}, and the longest time without an answer to a write, to a read")
    for name in sorted({fault.name for fault in faults}):
        times = [(fault.begun, fault.ended) for fault in faults if fault.name == name]
        gaps = [max(longest_gap(history.operations, kind, *time) for time in times) for kind in (WRITES, READS)]
        lines.append(f"  {len(times):3} {name:32} {gaps[0]:5.2f} s {gaps[1]:5.2f} s")
    lines.append(f"longest write unavailability: {longest_gap(history.operations, WRITES):.2f} s")
    lines.append(f"longest read unavailability: {longest_gap(history.operations, READS):.2f} s")
    return "\n".join(lines)
