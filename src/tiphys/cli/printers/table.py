"""Tables: rows that the server made, laid out as kubectl does.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

from typing import Any

from tiphys.cli.flags import Options
from tiphys.cli.printers import number
from tiphys.cli.tabs import Columns

Json = dict[str, Any]


class TablePrinter:
    """Prints Tables of one resource one after the other; titles come once. `prefix` is put before each name."""

    def __init__(self, opts: Options, *, prefix: str = "", namespaced: bool = False) -> None:
        self._wide = opts.get("output") == "wide"
        self._titles = not opts.get("no-headers")
        self._labels = bool(opts.get("show-labels"))
        self._columns: list[str] = opts.get("label-columns") or []
        self._prefix = prefix
        self._namespaced = namespaced
        self._definitions: list[Json] = []
        self._layout = Columns()

    def lay(self, table: Json) -> str:
        """The text of a table's rows, with the titles where they are due. A table without rows gives none."""
        self._definitions = table.get("columnDefinitions") or self._definitions
        rows = table.get("rows") or []
        if not rows:
            return ""
        shown = [at for at, column in enumerate(self._definitions) if self._wide or not column.get("priority")]
        names = {at for at in shown if self._definitions[at].get("format") == "name"}
        lines = []
        if self._titles:
            lines.append(self._title_row([self._definitions[at]["name"].upper() for at in shown]))
            self._titles = False
        for row in rows:
            cells = [self._cell(row["cells"], at, at in names) for at in shown]
            lines.append(self._surround(cells, (row.get("object") or {}).get("metadata") or {}))
        return self._layout.lay(lines)

    def _title_row(self, titles: list[str]) -> list[str]:
        if self._namespaced:
            titles.insert(0, "NAMESPACE")
        titles += [label.rpartition("/")[2].upper() for label in self._columns]
        return [*titles, "LABELS"] if self._labels else titles

    def _cell(self, cells: list[Any], at: int, is_name: bool) -> str:
        text = shown(cells[at]) if at < len(cells) else ""
        return f"{self._prefix}/{text}" if is_name and self._prefix else text

    def _surround(self, cells: list[str], metadata: Json) -> list[str]:
        labels: dict[str, str] = metadata.get("labels") or {}
        if self._namespaced:
            cells.insert(0, metadata.get("namespace", ""))
        # A label that is missing shows nothing, not "<none>", unless all labels are shown.
        cells += [labels.get(name, "") for name in self._columns]
        if self._labels:
            cells.append(",".join(f"{key}={labels[key]}" for key in sorted(labels)) or "<none>")
        return cells


def shown(value: Any) -> str:
    """A cell's value; what could break the table is escaped."""
    if value is None:
        return "<none>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value)
    text = str(value)
    if "\n" in text or "\r" in text or "\t" in text:
        first = text.replace("\r", "\\r").split("\n")
        text = first[0].replace("\t", "\\t") + ("..." if len(first) > 1 else "")
    return text
