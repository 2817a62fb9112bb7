"""One Compose model of several: later files win, lists of some fields add up, others are replaced.

Source: https://docs.docker.com/reference/compose-file/merge/
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
# Lists that replace the earlier one.
_REPLACED = frozenset({"command", "entrypoint", "test"})
# Lists of `KEY=VALUE` that are mappings in truth.
_PAIRS = frozenset({"environment", "labels", "extra_hosts", "sysctls", "annotations", "args"})


def merged(old: Any, new: Any, field: str = "") -> Any:
    """`new` over `old`. A null of `new` leaves what was."""
    if new is None:
        return old
    if field in _PAIRS and isinstance(old, list | dict) and isinstance(new, list | dict):
        return {**pairs(old), **pairs(new)}
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: merged(old.get(key), value, str(key)) for key, value in new.items()}}
    if isinstance(old, list) and isinstance(new, list) and field not in _REPLACED:
        return _lists(old, new, field)
    return new


def pairs(value: Any) -> Json:
    """The mapping that a list of `KEY=VALUE` (or `HOST:ADDRESS`) stands for; a bare KEY has the value None."""
    if isinstance(value, dict):
        return dict(value)
    found: Json = {}
    for item in value or ():
        text = str(item)
        key, sign, rest = text.partition("=")
        if not sign and ":" in text:
            key, sign, rest = text.partition(":")
        found[key] = rest if sign else None
    return found


def _lists(old: list[Any], new: list[Any], field: str) -> list[Any]:
    if field == "volumes":
        byplace = {_target(item): item for item in old}
        return list({**byplace, **{_target(item): item for item in new}}.values())
    return [*old, *(item for item in new if item not in old)]


def _target(item: Any) -> str:
    if isinstance(item, dict):
        return str(item.get("target"))
    parts = str(item).split(":")
    return parts[1] if len(parts) > 1 else parts[0]
