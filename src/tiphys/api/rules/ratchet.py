"""Ratcheting: what was wrong before an update, and is in a value that the update did not touch, does not refuse it.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-ratcheting
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tiphys.api.errors import FieldError
from tiphys.api.schema import Schema


def unforgiven(schema: Schema, errors: Sequence[FieldError], new: Any, old: Any) -> Iterator[FieldError]:
    """The errors of `new` that are about something that is not as it was in `old`."""
    same: dict[str, bool] = {}
    _compare(schema, new, old, "", same)
    for error in errors:
        if not _unchanged(error.path, same):
            yield error


def _unchanged(path: str, same: dict[str, bool]) -> bool:
    """Of the nearest value, up from `path`, that could be compared."""
    while path:
        found = same.get(path)
        if found is not None:
            return found
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return False


def _compare(schema: Schema | None, new: Any, old: Any, path: str, same: dict[str, bool]) -> None:
    if path:
        same[path] = new == old
    if isinstance(new, dict) and isinstance(old, dict):
        for key, value in new.items():
            # What an object is must hold again each time it is written.
            if key in old and (path or key not in ("apiVersion", "kind")):
                field = schema.field(key) if schema is not None else None
                _compare(field, value, old[key], f"{path}.{key}" if path else key, same)
    elif isinstance(new, list) and isinstance(old, list) and schema is not None and schema.list_type == "map":
        names = schema.list_map_keys
        olds = {tuple(str(item.get(name)) for name in names): item for item in old if isinstance(item, dict)}
        for index, item in enumerate(new):
            key = tuple(str(item.get(name)) for name in names) if isinstance(item, dict) else ()
            if key in olds:
                _compare(schema.items, item, olds[key], f"{path}[{index}]", same)
