"""YAML bodies as the data that JSON would have given, built without recursion and within bounds.

Keys are strings, times stay text, a key that stands twice is reported, and aliases may not blow a small body up: the
values that they stand for count as often as they are used. One document only.
Source: YAML 1.1 as Go's decoders read it, https://yaml.org/spec/1.1/
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tiphys.api.bounds import MAX_DEPTH

# Values in one body, each use of an alias counted with all that it holds.
_MAX_VALUES = 1_000_000

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLS = {
    text: value
    for value, words in ((True, ("true", "yes", "on")), (False, ("false", "no", "off")))
    for word in words
    for text in (word, word.capitalize(), word.upper())
}
_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|(?:0|[1-9][0-9_]*))")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = {".inf": math.inf, "-.inf": -math.inf, "+.inf": math.inf, ".nan": math.nan}


class YamlError(ValueError):
    """The text is not YAML, or not of a kind that JSON could say."""


def loads(data: bytes) -> tuple[Any, list[str]]:
    """The document, and upstream's complaint about each key that stands twice. Raises YamlError."""
    builder = _Builder()
    try:
        for event in yaml.parse(data, Loader=_Loader):
            builder.take(event)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise YamlError(f"error converting YAML to JSON: yaml: {error}") from None
    return builder.result, builder.duplicates


class _Open:
    """A mapping or sequence that has not ended."""

    __slots__ = ("anchor", "before", "key", "merged", "value")

    def __init__(self, value: Any, anchor: str | None, before: int) -> None:
        self.value, self.anchor, self.before = value, anchor, before
        # The key that waits for its value, and mappings that came by `<<`.
        self.key: str | None = None
        self.merged: list[Any] = []


class _Builder:
    def __init__(self) -> None:
        self.result: Any = None
        self.duplicates: list[str] = []
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._count = 0
        self._documents = 0

    def take(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._scalar(event)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self._start({} if kind is yaml.MappingStartEvent else [], event)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._end(event)
        elif kind is yaml.AliasEvent:
            self._alias(event)
        elif kind is yaml.DocumentStartEvent:
            self._documents += 1
            if self._documents > 1:
                raise _refused(event, "one document is expected, there are more")

    def _scalar(self, event: Any) -> None:
        if self._waits_for_key():
            self._key(event.value, event)
            return
        value = _resolve(event)
        self._put(value, event)
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)

    def _start(self, value: Any, event: Any) -> None:
        if self._waits_for_key():
            raise _refused(event, "a key must be a scalar")
        if len(self._open) >= MAX_DEPTH:
            raise _refused(event, f"exceeded max depth of {MAX_DEPTH}")
        self._open.append(_Open(value, event.anchor, self._count))

    def _end(self, event: Any) -> None:
        done = self._open.pop()
        for merged in done.merged:
            for key, value in merged.items():
                done.value.setdefault(key, value)
        if done.anchor:
            self._anchors[done.anchor] = (done.value, self._count - done.before + 1)
        self._put(done.value, event)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            raise _refused(event, f"unknown anchor '{event.anchor}' referenced")
        value, count = self._anchors[event.anchor]
        if self._waits_for_key():
            if not isinstance(value, str):
                raise _refused(event, "a key must be a scalar")
            self._key(value, event)
            return
        self._count += count
        self._put(value, event)

    def _waits_for_key(self) -> bool:
        return bool(self._open) and type(self._open[-1].value) is dict and self._open[-1].key is None

    def _key(self, key: str, event: Any) -> None:
        holder = self._open[-1]
        holder.key = key
        if key in holder.value:
            self.duplicates.append(f'yaml: line {event.start_mark.line + 1}: key "{key}" already set in map')

    def _put(self, value: Any, event: Any) -> None:
        self._count += 1
        if self._count > _MAX_VALUES:
            raise _refused(event, "document contains excessive aliasing")
        if not self._open:
            self.result = value
            return
        holder = self._open[-1]
        if type(holder.value) is list:
            holder.value.append(value)
            return
        key, holder.key = holder.key, None
        if key == "<<":
            holder.merged += list(_merged(value, event))
        else:
            holder.value[key] = value


def _merged(value: Any, event: Any) -> Iterator[dict[str, Any]]:
    for item in value if type(value) is list else [value]:
        if type(item) is not dict:
            raise _refused(event, "map merge requires map or sequence of maps as the value")
        yield item


def _refused(event: Any, why: str) -> yaml.YAMLError:
    return yaml.YAMLError(f"line {event.start_mark.line + 1}: {why}")


def _resolve(event: Any) -> Any:
    text: str = event.value
    tag = (event.tag or "").removeprefix(_TAG)
    if tag == "str" or (not tag and not event.implicit[0]):
        return text
    if tag not in ("", "int", "float", "bool", "null", "!"):
        raise _refused(event, f"cannot decode a value with the tag {event.tag}")
    return text if tag == "!" else _plain(text)


def _plain(text: str) -> Any:
    """What a word without quotes means."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if text[0] not in "-+.0123456789":
        return text
    if text.lower() in _SPECIAL:
        # JSON has no word for it, and upstream refuses it too.
        raise yaml.YAMLError(f"{text} is no number that JSON can hold")
    if _INTEGER.fullmatch(text):
        return _integer(text.replace("_", ""))
    return float(text.replace("_", "")) if _FLOAT.fullmatch(text) else text


def _integer(text: str) -> int:
    digits = text.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    value = int(digits, 8 if octal else 0)
    return -value if text[0] == "-" else value
