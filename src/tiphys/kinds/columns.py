"""Columns that many kinds share, and how cells are written: upstream's `printers` package.

A cell is computed from the object as a dict; every reader tolerates missing fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tiphys.api import time
from tiphys.api.resource import Column, Json
from tiphys.kinds.fields import dig

NONE, UNKNOWN, UNSET = "<none>", "<unknown>", "<unset>"


def since(text: str | None, now: float) -> str:
    """How long ago `text`, an RFC 3339 time, was; `<unknown>` where there is none."""
    if not text:
        return UNKNOWN
    try:
        return time.age(now - time.seconds(text))
    except ValueError:
        return "<invalid>"


def column(name: str, value: Callable[[Json], Any], kind: str = "string", *, wide: bool = False) -> Column:
    """A column that does not depend on the time; `wide` shows it with `-o wide` only."""
    return Column(name, lambda obj, _now: value(obj), kind, priority=int(wide))


def at(name: str, *path: str, empty: Any = "", wide: bool = False) -> Column:
    """A column of the string at `path`; `empty` where it is missing."""

    def value(obj: Json) -> Any:
        found = dig(obj, *path)
        return empty if found is None or found == "" else str(found)

    return column(name, value, wide=wide)


def number(name: str, *path: str, wide: bool = False) -> Column:
    """A column of the integer at `path`, 0 where it is missing."""
    return column(name, lambda obj: dig(obj, *path) or 0, "integer", wide=wide)


def flag(name: str, *path: str, wide: bool = False) -> Column:
    """A column of the boolean at `path`, false where it is missing."""
    return column(name, lambda obj: bool(dig(obj, *path)), "boolean", wide=wide)


def map_text(labels: Mapping[str, Any] | None) -> str:
    """`a=1,b=2`, sorted, or `<none>`."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) if labels else NONE


def selector_text(selector: Json | None) -> str:
    """A LabelSelector in the syntax of `-l`, `<none>` where it is empty."""
    if not selector:
        return NONE
    terms = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or ():
        key, operator = expression.get("key", ""), expression.get("operator", "")
        values = ",".join(sorted(expression.get("values") or ()))
        written = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        terms.append(written.get(operator, f"!{key}"))
    return ",".join(terms) or NONE


def joined(items: Iterable[str], *, empty: str = NONE, most: int = 0) -> str:
    """`a,b,c`; beyond `most` (0: no bound) as `a,b,c + 2 more...`."""
    shown = list(items)
    if not shown:
        return empty
    if most and len(shown) > most:
        return f"{','.join(shown[:most])} + {len(shown) - most} more..."
    return ",".join(shown)


def template_columns(*template: str, selector: tuple[str, ...] = ()) -> tuple[Column, ...]:
    """The wide columns of a workload: containers, images and, where it has one, the selector."""

    def of(name: str) -> Callable[[Json], str]:
        return lambda obj: ",".join(
            container.get(name, "") for container in dig(obj, *template, "spec", "containers") or ()
        )

    columns = (column("Containers", of("name"), wide=True), column("Images", of("image"), wide=True))
    if not selector:
        return columns
    return (*columns, column("Selector", lambda obj: selector_text(dig(obj, *selector)), wide=True))


NAME = Column("Name", lambda obj, _now: dig(obj, "metadata", "name") or "", format="name")
AGE = Column("Age", lambda obj, now: since(dig(obj, "metadata", "creationTimestamp"), now))
CREATED_AT = Column("Created At", lambda obj, _now: dig(obj, "metadata", "creationTimestamp") or UNKNOWN)
