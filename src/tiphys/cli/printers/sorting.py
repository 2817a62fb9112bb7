"""`--sort-by`: by the value of a JSONPath; quantities and numbers by value, texts naturally.

Source: https://kubernetes.io/docs/reference/kubectl/#sorting-list-objects
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from tiphys.cli.errors import CliError
from tiphys.cli.printers.jsonpath import path, relaxed

Json = dict[str, Any]


def sort_objects(items: list[Json], expression: str) -> list[Json]:
    """Raises CliError for a path that none of the objects has."""
    find = path(relaxed(expression))
    keys = [find(item) for item in items]
    if items and not any(keys):
        raise CliError(f'couldn\'t find any field with path "{{{relaxed(expression)}}}" in the list of objects')
    order = sorted(range(len(items)), key=lambda at: _key(keys[at]))
    return [items[at] for at in order]


def sort_tables(tables: Iterable[tuple[Any, Json]], expression: str) -> None:
    """Sort each table's rows, which hold their objects."""
    for _, table in tables:
        rows = {id(row["object"]): row for row in table["rows"]}
        table["rows"] = [rows[id(obj)] for obj in sort_objects([row["object"] for row in table["rows"]], expression)]


def _key(found: list[Any]) -> tuple[Any, ...]:
    if not found or found[0] is None:
        return (0,)
    value = found[0]
    if isinstance(value, (int, float)):
        return (1, value)
    text = str(value)
    if re.fullmatch(r"[+-]?[0-9.]+([eE][0-9]+|[numkMGTPE]|[KMGTPE]i)?", text):
        from tiphys.api.quantity import parse

        try:
            return (1, parse(text).nanos)
        except ValueError:
            pass
    return (2, [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text) if part])
