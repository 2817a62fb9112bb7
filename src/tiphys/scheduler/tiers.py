"""What pods take of the nodes by their priority: preemption asks what would be free without all below one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiphys.scheduler.pod import PodInfo

Amounts = npt.NDArray[np.int64]


class Tiers:
    """A matrix of rows by columns for each priority that any pod here has."""

    def __init__(self) -> None:
        self._rows = self._columns = 0
        self._of: dict[int, Amounts] = {}
        self._pods: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._of)

    def reshape(self, rows: int, columns: int) -> None:
        """There are so many rows and columns from now on; never fewer."""
        more = ((0, rows - self._rows), (0, columns - self._columns))
        self._rows, self._columns = rows, columns
        self._of = {priority: np.pad(matrix, more) for priority, matrix in self._of.items()}

    def count(self, info: PodInfo, row: int, columns: list[int], sign: int) -> None:
        """A pod comes (1) or goes (-1); `columns` are those of its requests, in their order."""
        priority = info.pod.spec.priority
        matrix = self._of.get(priority)
        if matrix is None:
            matrix = self._of[priority] = np.zeros((self._rows, self._columns), np.int64)
        for column, value in zip(columns, info.requests.values(), strict=True):
            matrix[row, column] += sign * value
        left = self._pods[priority] = self._pods.get(priority, 0) + sign
        if not left:
            del self._of[priority], self._pods[priority]

    def below(self, priority: int) -> list[tuple[int, Amounts]]:
        """Of each lower priority, lowest first, what its pods take. Not to be written to."""
        return [(each, self._of[each]) for each in sorted(self._of) if each < priority]

    def from_(self, priority: int, rows: slice | list[int], column: int) -> Amounts | None:
        """Row by row, what pods of this priority and higher take of one resource; None if there are none."""
        total: Amounts | None = None
        for each, matrix in self._of.items():
            if each >= priority:
                total = matrix[rows, column] if total is None else total + matrix[rows, column]
        return total
