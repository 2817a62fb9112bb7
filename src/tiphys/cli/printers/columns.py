"""`-o custom-columns=NAME:.path,...`: one line an object.

Source: https://kubernetes.io/docs/reference/kubectl/#custom-columns
"""

from __future__ import annotations

from typing import Any

from tiphys.cli.errors import CliError
from tiphys.cli.printers import number
from tiphys.cli.printers.jsonpath import path, relaxed


class CustomColumns:
    """Titles and cells of a specification. Raises CliError for one that does not parse."""

    def __init__(self, text: str) -> None:
        if not text:
            raise CliError("custom-columns format specified but no custom columns given")
        self.titles: list[str] = []
        self._paths = []
        for part in _parts(text):
            title, colon, expression = part.partition(":")
            if not colon or not title:
                raise CliError(f"unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>")
            self.titles.append(title)
            self._paths.append(path(relaxed(expression)))

    def cells(self, obj: Any) -> list[str]:
        return [",".join(map(go_text, found)) if (found := find(obj)) else "<none>" for find in self._paths]


def from_file(name: str) -> CustomColumns:
    """Two lines: titles, and the paths below them."""
    try:
        with open(name, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise CliError(f"error reading template {name}, {error.strerror}") from error
    titles, paths = lines[0].split(), lines[1].split()
    return CustomColumns(",".join(f"{title}:{find}" for title, find in zip(titles, paths, strict=True)))


def _parts(text: str) -> list[str]:
    """Split at commas outside of brackets."""
    parts, depth = [""], 0
    for char in text:
        depth += (char in "[(") - (char in "])")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def go_text(value: Any) -> str:
    """As Go's `%v` prints it."""
    if value is None:
        return "<none>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_text, value)) + "]"
    return str(value)
