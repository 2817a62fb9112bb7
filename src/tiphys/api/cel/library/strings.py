"""Functions of strings, regular expressions among them.

Source: cel-go's `ext/strings.go` (version 2) and upstream's `apiserver/pkg/cel/library/regex.go`.
"""

from __future__ import annotations

from typing import Any

from tiphys.api.cel import costs
from tiphys.api.cel.declare import Library
from tiphys.api.cel.errors import EvalError
from tiphys.api.cel.library.formatting import format_string
from tiphys.api.cel.regexes import compiled

STRINGS = Library()
_add = STRINGS.add
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
_QUOTED = str.maketrans({
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"',
})  # fmt: skip


def _bounded(index: int, length: int) -> None:
    if not 0 <= index <= length:
        raise EvalError(f"index out of range: {index}")


def _char_at(text: str, index: int) -> str:
    _bounded(index, len(text))
    return text[index : index + 1]


def _index_of(text: str, part: str, offset: int = 0) -> int:
    if offset < 0:
        raise EvalError(f"index out of range: {offset}")
    if not part:
        return min(offset, len(text))
    return text.find(part, offset)


def _last_index_of(text: str, part: str, offset: int | None = None) -> int:
    if offset is None:
        return text.rfind(part)
    if offset < 0:
        raise EvalError(f"index out of range: {offset}")
    if not part:
        return min(offset, len(text))
    return -1 if offset >= len(text) else text.rfind(part, 0, offset + len(part))


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    found = text.count(old) if count < 0 else min(count, text.count(old))
    costs.bound(len(text) + found * max(len(new) - len(old), 0))
    return text.replace(old, new, count)


def _split(text: str, separator: str, count: int = -1) -> list[str]:
    if count == 0:
        return []
    if not separator:
        return list(text) if count < 0 or len(text) <= count else [*text[: count - 1], text[count - 1 :]]
    return text.split(separator, count - 1 if count > 0 else -1)


def _substring(text: str, start: int, end: int | None = None) -> str:
    if end is not None and start > end:
        raise EvalError(f"invalid substring range. start: {start}, end: {end}")
    _bounded(start, len(text))
    if end is not None:
        _bounded(end, len(text))
    return text[start:end]


def _join(items: list[Any], separator: str = "") -> str:
    for item in items:
        if type(item) is not str:
            raise EvalError(f"join: invalid input: {item}")
    costs.bound(sum(map(len, items)) + len(separator) * len(items))
    return separator.join(items)


def _find(text: str, pattern: str) -> str:
    found = compiled(pattern).search(text)
    return "" if found is None else str(found.group(0))


def _find_all(text: str, pattern: str, count: int = -1) -> list[str]:
    found: list[str] = []
    for match in compiled(pattern).finditer(text):
        if 0 <= count <= len(found):
            break
        found.append(match.group(0))
    return found


def _declare() -> None:
    once, twice = costs.traverse, costs.traverse_twice
    _add("string_char_at_int", "string.charAt(int) string", _char_at)
    # These two cost by name what they cost on lists.
    for name, run in (("indexOf", _index_of), ("lastIndexOf", _last_index_of)):
        snake = "index_of" if name == "indexOf" else "last_index_of"
        _add(f"string_{snake}_string", f"string.{name}(string) int", run, costs.elements)
        _add(f"string_{snake}_string_int", f"string.{name}(string, int) int", run, costs.elements)
    _add("string_lower_ascii", "string.lowerAscii() string", lambda text: text.translate(_LOWER), once)
    _add("string_upper_ascii", "string.upperAscii() string", lambda text: text.translate(_UPPER), once)
    _add("string_replace_string_string", "string.replace(string, string) string", _replace, twice)
    _add("string_replace_string_string_int", "string.replace(string, string, int) string", _replace, twice)
    _add("string_split_string", "string.split(string) list(string)", _split, twice)
    _add("string_split_string_int", "string.split(string, int) list(string)", _split, twice)
    _add("string_substring_int", "string.substring(int) string", _substring, once)
    _add("string_substring_int_int", "string.substring(int, int) string", _substring, once)
    _add("string_trim", "string.trim() string", str.strip, once)
    _add("string_format", "string.format(list(dyn)) string", format_string, once)
    _add("strings_quote", "strings.quote(string) string", lambda text: f'"{text.translate(_QUOTED)}"', once)
    _add("list_join", "list<string>.join() string", _join, costs.traverse_result_twice)
    _add("list_join_string", "list<string>.join(string) string", _join, costs.traverse_result_twice)
    _add("string_find_string", "string.find(string) string", _find, costs.regex)
    _add("string_find_all_string", "string.findAll(string) list(string)", _find_all, costs.regex)
    _add("string_find_all_string_int", "string.findAll(string, int) list(string)", _find_all, costs.regex)


_declare()
