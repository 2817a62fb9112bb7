"""Elastic tab stops, as Go's text/tabwriter lays out cells: each column is as wide as its block of lines needs.

A cell ends with a tab; what follows the last tab of a line belongs to no column. A column's block is the run of
neighbouring lines that have a cell in it. Source: https://pkg.go.dev/text/tabwriter
"""

from __future__ import annotations


def align(text: str, *, minimum: int, padding: int) -> str:
    """`text` with its tabs replaced by spaces; columns are `padding` wider than their widest cell."""
    ends = text.endswith("\n")
    rows = [line.split("\t") for line in (text[:-1] if ends else text).split("\n")]
    out: list[str] = []
    _format(rows, [], (0, len(rows)), (minimum, padding), out)
    return "\n".join(out) + ("\n" if ends else "")


def _format(
    rows: list[list[str]], widths: list[int], span: tuple[int, int], shape: tuple[int, int], out: list[str]
) -> None:
    column = len(widths)
    start, stop = span
    at = start
    while at < stop:
        if column >= len(rows[at]) - 1:
            at += 1
            continue
        _write(rows[start:at], widths, out)
        start = at
        widest = shape[0]
        while at < stop and column < len(rows[at]) - 1:
            widest = max(widest, len(rows[at][column]) + shape[1])
            at += 1
        _format(rows, [*widths, widest], (start, at), shape, out)
        start = at
    _write(rows[start:stop], widths, out)


def _write(rows: list[list[str]], widths: list[int], out: list[str]) -> None:
    for row in rows:
        cells = [cell.ljust(widths[at]) if at < len(widths) else cell for at, cell in enumerate(row)]
        out.append("".join(cells))


class Columns:
    """A table whose rows come in portions, as of a watch: a column never gets narrower than it was."""

    def __init__(self, minimum: int = 6, padding: int = 3) -> None:
        self._minimum, self._padding = minimum, padding
        self._widths: list[int] = []

    def lay(self, rows: list[list[str]]) -> str:
        for row in rows:
            for at, cell in enumerate(row[:-1]):
                needed = max(self._minimum, len(cell) + self._padding)
                if at == len(self._widths):
                    self._widths.append(needed)
                elif needed > self._widths[at]:
                    self._widths[at] = needed
        lines = []
        for row in rows:
            cells = [cell.ljust(self._widths[at]) for at, cell in enumerate(row[:-1])]
            lines.append("".join(cells) + row[-1] + "\n" if row else "\n")
        return "".join(lines)
