"""Printer columns and selectable fields of custom resources: cells and values read by JSONPath.

Source: upstream's `apiextensions-apiserver/pkg/registry/customresource/tableconvertor/tableconvertor.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from tiphys.api.jsonpath import Path, PathError, compile_path
from tiphys.api.resource import Column, Json
from tiphys.api.time import age, seconds
from tiphys.base.log import Log

_log = Log("crds")
_AGE = {
    "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp",
    "description": "When the object was created.",
}  # fmt: skip
_PREFIX = "Custom resource definition column (in JSONPath format): "


def columns(version: Json) -> Iterator[Column]:
    """The columns of a version of a definition; from the first that cannot be read on, there are none."""
    yield Column("Name", lambda obj, now: obj["metadata"]["name"], format="name")
    for column in version.get("additionalPrinterColumns") or [_AGE]:
        try:
            value = _cell(compile_path(column["jsonPath"]), column["type"])
        except PathError as error:
            _log.warning("printer columns left out", column=column["name"], error=str(error))
            return
        yield Column(
            column["name"], value, column["type"], column.get("format", ""),
            column.get("description") or _PREFIX + column["jsonPath"], column.get("priority", 0),
        )  # fmt: skip


def _cell(path: Path, kind: str) -> Callable[[Json, float], Any]:
    read: Callable[[Any, float], Any] = _READERS.get(kind, _nothing)

    def value(obj: Json, now: float) -> Any:
        found = path(obj)
        return read(found[0], now) if found else None

    return value


def _nothing(value: Any, now: float) -> None:
    return None


def _text(value: Any, now: float) -> str:
    if value is None:
        return "<no value>"
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _whole(value: Any, now: float) -> int | None:
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _number(value: Any, now: float) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _truth(value: Any, now: float) -> bool | None:
    return value if isinstance(value, bool) else None


def _date(value: Any, now: float) -> str | None:
    if not isinstance(value, str):
        return None
    if value in ("", "null"):
        return "<unknown>"
    try:
        return age(now - seconds(value))
    except ValueError:
        return "<invalid>"


_READERS: dict[str, Callable[[Any, float], Any]] = {
    "string": _text, "integer": _whole, "number": _number, "boolean": _truth, "date": _date,
}  # fmt: skip


def selectable(version: Json) -> dict[str, Callable[[Json], str]]:
    """Readers of the fields that a version lets its objects be selected by."""
    found = {}
    for field in version.get("selectableFields") or ():
        found[field["jsonPath"].removeprefix(".")] = _reader(compile_path(field["jsonPath"]))
    return found


def _reader(path: Path) -> Callable[[Json], str]:
    def read(obj: Json) -> str:
        found = path(obj)
        if not found or found[0] is None:
            return ""
        value = found[0]
        return value if isinstance(value, str) else orjson.dumps(value).decode()

    return read
