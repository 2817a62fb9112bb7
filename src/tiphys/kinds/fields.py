"""Reading an object held as a plain dict, where any level may be missing."""

from __future__ import annotations

from typing import Any

from tiphys.api.resource import Json, TextAt


def dig(obj: Json, *path: str) -> Any:
    """The value at `path`, or None as soon as a level is missing."""
    value: Any = obj
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def text_at(*path: str) -> TextAt:
    """A reader for field selectors: the string at `path`, empty where there is none."""
    return TextAt(path)


def flag_at(*path: str) -> TextAt:
    """The same for a truth value, which is false where there is none."""
    return TextAt(path, lambda value: "true" if value else "false")


def put_default(obj: Json, name: str, value: Any) -> None:
    """Set `name` where it is absent. A value of "" or 0 is present; upstream's `omitempty` strings use `put_text`."""
    if obj.get(name) is None:
        obj[name] = value


def put_text(obj: Json, name: str, value: str) -> None:
    """Set a string that is absent or empty: Go does not tell the two apart."""
    if not obj.get(name):
        obj[name] = value


def replace_status(new: Json, old: Json | None) -> None:
    """Keep the status that stands: for the few kinds with a status but no status subresource."""
    new.pop("status", None)
    if old is not None and "status" in old:
        new["status"] = old["status"]
