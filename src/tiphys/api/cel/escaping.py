"""Property names as identifiers of the language: `foo-bar` is `foo__dash__bar`, `namespace` is `__namespace__`.

Source: upstream's `apiserver/pkg/cel/escaping.go`.
"""

from __future__ import annotations

import re

_RESERVED = frozenset({
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import",
    "let", "loop", "package", "namespace", "return", "var", "void", "while",
})  # fmt: skip
_WORDS = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_SPECIAL = re.compile(r"__|[-./]")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def escape(name: str) -> str | None:
    """The identifier for a property, None where there is none (it begins with a digit or has other characters)."""
    if name in _RESERVED:
        return f"__{name}__"
    if not name or name[0].isdigit():
        return None
    escaped = _SPECIAL.sub(lambda match: _WORDS[match[0]], name)
    return escaped if _IDENTIFIER.fullmatch(escaped) else None
