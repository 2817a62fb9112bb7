"""Indexes of pods of a Job, written as `1,3-5`. Source: upstream's `validateIndexesFormat`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_NUMBER = re.compile("[+-]?[0-9]+")


def count_indexes(text: str, completions: int) -> int:
    """How many `text` names. Raises ValueError with upstream's words: they must increase and be below completions."""
    return sum(last - first + 1 for first, last in intervals(text, completions))


def intervals(text: str, completions: int) -> Iterator[tuple[int, int]]:
    """First and last index of each part. Raises ValueError as `count_indexes` does."""
    before: int | None = None
    for part in text.split(",") if text else ():
        bounds = part.split("-")
        if len(bounds) > 2:
            rule = "violates the requirement that an index interval can have at most two parts separated by '-'"
            raise ValueError(f'the fragment "{part}" {rule}')
        first, last = _number(bounds[0], completions), _number(bounds[-1], completions)
        if len(bounds) == 2 and first >= last:
            raise ValueError(f"non-increasing order, previous: {first}, current: {last}")
        if before is not None and before >= first:
            raise ValueError(f"non-increasing order, previous: {before}, current: {first}")
        before = last
        yield first, last


def _number(text: str, completions: int) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f'cannot convert string to integer for index: "{text}"')
    if int(text) >= completions:
        raise ValueError(f'too large index: "{text}"')
    return int(text)


def overlap(completed: str, failed: str, completions: int) -> int | None:
    """The first index that both name; None where there is none, or where one of them is not legal."""
    try:
        left, right = list(intervals(completed, completions)), list(intervals(failed, completions))
    except ValueError:
        return None
    shared = (max(a, c) for a, b in left for c, d in right if a <= d and c <= b)
    return min(shared, default=None)


def read_indexes(text: str, completions: int) -> set[int]:
    """The indexes below `completions` that `text` names; what is not legal in it counts for nothing.

    A Job may have shrunk since the text was written.
    """
    found: set[int] = set()
    for part in text.split(",") if text else ():
        bounds = part.split("-")
        if len(bounds) <= 2 and all(_NUMBER.fullmatch(bound) for bound in bounds):
            found.update(range(int(bounds[0]), min(int(bounds[-1]), completions - 1) + 1))
    return found


def format_indexes(indexes: Iterable[int]) -> str:
    """As `1,3-5`: runs of three and more are written as intervals."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(
        str(first) if first == last else f"{first}{',' if last == first + 1 else '-'}{last}" for first, last in runs
    )
