"""The template language of `-o jsonpath=`: text, `{.path}`, `{range .path}...{end}`, `{"text"}`.

Source: https://kubernetes.io/docs/reference/kubectl/jsonpath/
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tiphys.api.jsonpath import PathError, compile_path
from tiphys.cli.errors import CliError
from tiphys.cli.printers import number, to_json

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}
_QUOTED = re.compile(r"""^(?:"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)')$""", re.DOTALL)
Part = Any


def printer(text: str, *, as_json: bool = False, lenient: bool = True) -> Callable[[Any], str]:
    """From an object to text. `as_json` prints the matches as a JSON array. Raises CliError for a bad template."""
    parts = _parse(text)

    def show(obj: Any) -> str:
        if as_json:
            found: list[Any] = []
            for part in parts:
                if not isinstance(part, str):
                    found += part[0](obj)
            return to_json(found)
        return _render(parts, obj)

    return show


def relaxed(text: str) -> str:
    """A path with the braces and the leading dot that users may leave out, as `--sort-by` and columns take it."""
    text = text.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    return text if text.startswith((".", "[", "$", "@")) else f".{text}"


def path(text: str) -> Callable[[Any], list[Any]]:
    """A compiled path. Raises CliError."""
    try:
        return compile_path(text)
    except PathError as error:
        raise CliError(str(error)) from None


def _pieces(text: str) -> list[tuple[bool, str]]:
    """(whether it was in braces, text) for each piece; braces and brackets in quotes count for nothing."""
    pieces: list[tuple[bool, str]] = []
    at = 0
    while at < len(text):
        start = text.find("{", at)
        if start < 0:
            pieces.append((False, text[at:]))
            break
        if start > at:
            pieces.append((False, text[at:start]))
        end = _closing(text, start)
        pieces.append((True, text[start + 1 : end].strip()))
        at = end + 1
    return pieces


def _closing(text: str, start: int) -> int:
    quote = ""
    at = start + 1
    while at < len(text):
        char = text[at]
        if quote:
            if char == "\\":
                at += 1
            elif char == quote:
                quote = ""
        elif char in "\"'":
            quote = char
        elif char == "}":
            return at
        at += 1
    raise CliError(f"error parsing jsonpath {text}, unclosed action")


def _parse(text: str) -> list[Part]:
    """Strings, `(path,)` and `(path, parts)` of a range."""
    stack: list[list[Part]] = [[]]
    for braced, piece in _pieces(text):
        if not braced:
            stack[-1].append(piece)
        elif piece == "end":
            if len(stack) == 1:
                raise CliError(f"error parsing jsonpath {text}, not in range")
            stack.pop()
        elif piece.startswith("range ") or piece.startswith("range."):
            inner: list[Part] = []
            stack[-1].append((path(piece[5:].strip()), inner))
            stack.append(inner)
        else:
            stack[-1] += [_single(word) for word in _words(piece)]
    if len(stack) > 1:
        raise CliError(f"error parsing jsonpath {text}, unexpected end of range")
    return stack[0]


def _words(piece: str) -> list[str]:
    """Texts and paths that share one pair of braces, which white space separates."""
    if _QUOTED.match(piece) or not re.search(r"\s", piece) or "?(" in piece:
        return [piece]
    return re.findall(r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\[[^\]]*\]|[^\s"'\[])+""", piece)


def _single(piece: str) -> Part:
    quoted = _QUOTED.match(piece)
    if quoted:
        inner = quoted[1] if quoted[1] is not None else quoted[2]
        return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), inner)
    return (path(piece or "."),)


def _render(parts: list[Part], obj: Any) -> str:
    out = []
    for part in parts:
        if isinstance(part, str):
            out.append(part)
        elif len(part) == 1:
            out.append(" ".join(shown(value) for value in part[0](obj)))
        else:
            out += [_render(part[1], item) for item in part[0](obj)]
    return "".join(out)


def shown(value: Any) -> str:
    """A found value as text: strings bare, structures as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value)
    return to_json(value, None) if isinstance(value, (dict, list)) else str(value)
