"""`describe` of kinds that have no layout of their own: every field, titles made of the fields' names."""

from __future__ import annotations

import re
from typing import Any

from tiphys.cli.builder import Info
from tiphys.cli.command import Call
from tiphys.cli.describers.text import Text, events_of
from tiphys.cli.printers.columns import go_text

Json = dict[str, Any]
_SKIPPED = {".metadata.managedFields", ".metadata.name", ".metadata.namespace", ".metadata.labels",
            ".metadata.annotations"}  # fmt: skip
_ACRONYMS = ("API", "URL", "UID", "GUID")


def describe(call: Call, info: Info) -> str:
    text = Text()
    text.head(info.obj)
    text.marks(info.obj)
    _fields(text, info.obj, 0, "")
    text.events(events_of(call, info))
    return text.render()


def _fields(text: Text, content: Json, level: int, prefix: str) -> None:
    for name in sorted(content):
        value, path = content[name], f"{prefix}.{name}"
        if path in _SKIPPED:
            continue
        if isinstance(value, dict):
            text.line(f"{title(name)}:", level)
            _fields(text, value, level + 1, path)
        elif isinstance(value, list):
            text.line(f"{title(name)}:", level)
            for child in value:
                if isinstance(child, dict):
                    _fields(text, child, level + 1, path)
                else:
                    text.line(go_text(child), level + 1)
        else:
            text.field(title(name), go_text(value), level)


def title(name: str) -> str:
    """`podCIDR` as "Pod CIDR"; a name with other than letters stays as it is."""
    if not re.fullmatch(r"[A-Za-z-]+", name):
        return name
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]*|[a-z]+|-+", name)
    shown = []
    for part in parts:
        if part.upper() in _ACRONYMS:
            shown.append(part.upper())
        else:
            shown.append(part.capitalize() if part.islower() else part)
    return " ".join(shown)
