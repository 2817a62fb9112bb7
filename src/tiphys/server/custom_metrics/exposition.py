"""Reads Prometheus' text format, those series only that are wanted.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?')
_ESCAPED = re.compile(r"\\(.)")
_PARTS = ("_bucket", "_count", "_sum")


@dataclass(frozen=True, slots=True)
class Series:
    """`counter`: it only ever grows, until it begins anew."""

    name: str
    labels: Mapping[str, str]
    value: float
    counter: bool


def parse(text: str, names: Collection[str]) -> Iterator[Series]:
    """The series of these names; a line that is none is left out."""
    types: dict[str, str] = {}
    beginnings = tuple(names)
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            words = line.split()
            if len(words) == 4:
                types[words[2]] = words[3]
        elif line.startswith(beginnings):
            found = _series(line, names, types)
            if found is not None:
                yield found


def _series(line: str, names: Collection[str], types: Mapping[str, str]) -> Series | None:
    name = re.split(r"[{\s]", line, maxsplit=1)[0]
    if name not in names:
        return None
    rest, labels = line[len(name) :].lstrip(), {}
    if rest.startswith("{"):
        at = 1
        while (match := _LABEL.match(rest, at)) is not None:
            labels[match[1]] = _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], match[2])
            at = match.end()
        if rest[at : at + 1] != "}":
            return None
        rest = rest[at + 1 :]
    try:
        return Series(name, labels, float(rest.split()[0]), _is_counter(name, types))
    except (IndexError, ValueError):
        return None


def _is_counter(name: str, types: Mapping[str, str]) -> bool:
    kind = types.get(name, "")
    if kind:
        return kind == "counter"
    return name.endswith("_total") or any(
        name.endswith(part) and types.get(name.removesuffix(part)) in ("histogram", "summary") for part in _PARTS
    )
