"""`fieldPath` of a rule: `.spec.foo['bar']`, which must lead to a declared field.

Source: upstream's `apiextensions-apiserver/pkg/apiserver/schema/cel/validation.go` (ValidFieldPath).
"""

from __future__ import annotations

import re

from tiphys.api.schema import Schema

_STEP = re.compile(r"\.([^.\[\]']+)|\['((?:[^'\\]|\\.)*)'\]")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", "\\": "\\"}


def field_path(schema: Schema, text: str) -> str:
    """The path as errors write it, without a leading dot. Raises ValueError for one that leads nowhere."""
    node: Schema | None = schema
    out = ""
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or node is None:
            raise ValueError("expected [ or . and the name of a field")
        at = match.end()
        name = match[1] if match[1] is not None else _ESCAPE.sub(_unescape, match[2])
        if node.properties:
            node = node.properties.get(name)
            out += f".{name}"
            if node is None:
                raise ValueError("does not refer to a valid field")
        elif node.additional is not None:
            node = node.additional
            out += f"[{name}]"
        else:
            raise ValueError("does not refer to a valid field")
    return out.removeprefix(".")


def _unescape(match: re.Match[str]) -> str:
    if match[1] not in _ESCAPES:
        raise ValueError(f"invalid escape char {match[0]}")
    return _ESCAPES[match[1]]
