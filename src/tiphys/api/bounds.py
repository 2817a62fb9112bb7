"""How deep an object may be. Everything that walks objects recurses, and the JSON library writes 254 levels at most."""

from __future__ import annotations

from itertools import chain
from typing import Any

from tiphys.api.errors import BadRequest

MAX_DEPTH = 250


def bounded(value: Any, data: bytes | None = None) -> Any:
    """`value`, unless it is nested too deep. Raises BadRequest. `data` are the bytes it came from, to look at first."""
    if data is not None and data.count(b"{") + data.count(b"[") <= MAX_DEPTH:
        return value
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = list(chain.from_iterable(map(_children, level)))
        if not level:
            return value
    raise BadRequest(f"error decoding: exceeded max depth of {MAX_DEPTH} levels")


def _children(value: Any) -> list[Any]:
    inner = value.values() if type(value) is dict else value if type(value) is list else ()
    return [child for child in inner if type(child) is dict or type(child) is list]
