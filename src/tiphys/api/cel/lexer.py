"""Text to tokens. Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from tiphys.api.cel.errors import Issue
from tiphys.api.cel.values import INT_MAX, INT_MIN, UINT_MAX, Uint


class Token(NamedTuple):
    """`kind` is "ident", "literal", "end", or the text of an operator or keyword."""

    kind: str
    text: str
    at: int
    value: Any = None


_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n\f]+|//[^\n]*)
    |(?P<string>[bB]?[rR](?:\"\"\"(?s:.)*?\"\"\"|'''(?s:.)*?'''|"[^"\n\r]*"|'[^'\n\r]*')
      |[rR][bB](?:\"\"\"(?s:.)*?\"\"\"|'''(?s:.)*?'''|"[^"\n\r]*"|'[^'\n\r]*')
      |[bB]?(?:\"\"\"(?:[^\\]|\\(?s:.))*?\"\"\"|'''(?:[^\\]|\\(?s:.))*?'''
        |"(?:[^"\\\n\r]|\\.)*"|'(?:[^'\\\n\r]|\\.)*'))
    |(?P<float>[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|\.[0-9]+(?:[eE][+-]?[0-9]+)?)
    |(?P<int>(?:0x[0-9a-fA-F]+|[0-9]+)[uU]?)
    |(?P<ident>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<op>==|!=|<=|>=|&&|\|\||[-+*/%<>!?:.,()\[\]{}])
    """,
    re.VERBOSE,
)
# No literal of 64 bits is longer, but for leading zeros.
_LONGEST_NUMBER = 64
_KEYWORDS = {"true": True, "false": False, "null": None}
_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "?": "?", '"': '"',
    "'": "'", "`": "`",
}  # fmt: skip
_ESCAPE = re.compile(
    r"\\(x|X)([0-9a-fA-F]{2})|\\(u)([0-9a-fA-F]{4})|\\(U)([0-9a-fA-F]{8})|\\([0-3][0-7]{2})|\\(?s:(.))"
)


def tokens(source: str, issues: list[Issue]) -> list[Token]:
    """The tokens of `source`, closed by one of kind "end"; what is not a token goes to `issues`."""
    found: list[Token] = []
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            issues.append(Issue(at, f"Syntax error: token recognition error at: '{source[at]}'"))
            at += 1
            continue
        if match.lastgroup != "space":
            found.append(_token(match, issues))
        at = match.end()
    found.append(Token("end", "<EOF>", len(source)))
    return found


def _token(match: re.Match[str], issues: list[Issue]) -> Token:
    text, at = match[0], match.start()
    kind = match.lastgroup
    if kind == "op":
        return Token(text, text, at)
    if kind == "ident":
        if text in _KEYWORDS:
            return Token("literal", text, at, _KEYWORDS[text])
        return Token("in" if text == "in" else "ident", text, at)
    if kind == "float":
        value = float(text)
        if value == float("inf"):
            issues.append(Issue(at, "invalid double literal"))
        return Token("literal", text, at, value)
    if kind == "int":
        return Token("number", text, at)
    try:
        return Token("literal", text, at, _string(text))
    except ValueError as error:
        issues.append(Issue(at, str(error)))
        return Token("literal", text, at, "")


def number(text: str, *, negative: bool = False) -> int:
    """The value of an integer literal; raises ValueError with cel-go's words where it does not fit."""
    unsigned = text[-1] in "uU"
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("invalid uint literal" if unsigned else "invalid int literal")
    value = int(text.rstrip("uU"), 16 if text.startswith("0x") else 10)
    if unsigned:
        if value > UINT_MAX or negative:
            raise ValueError("invalid uint literal")
        return Uint(value)
    value = -value if negative else value
    if not INT_MIN <= value <= INT_MAX:
        raise ValueError("invalid int literal")
    return value


def _string(text: str) -> str | bytes:
    start = 0
    raw = is_bytes = False
    while text[start] in "bBrR":
        raw = raw or text[start] in "rR"
        is_bytes = is_bytes or text[start] in "bB"
        start += 1
    quotes = 3 if text[start : start + 3] in ('"""', "'''") and len(text) - start >= 6 else 1
    body = text[start + quotes : len(text) - quotes].replace("\r\n", "\n").replace("\r", "\n")
    if is_bytes:
        return body.encode() if raw else _unescape_bytes(body)
    return body if raw else _ESCAPE.sub(_char, body)


def _char(match: re.Match[str]) -> str:
    octal, other = match[7], match[8]
    if other is not None:
        if other not in _ESCAPES:
            raise ValueError("unable to unescape string")
        return _ESCAPES[other]
    code = int(octal, 8) if octal else int(match[2] or match[4] or match[6], 16)
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise ValueError("invalid unicode code point")
    return chr(code)


def _unescape_bytes(body: str) -> bytes:
    out = bytearray()
    end = 0
    for match in _ESCAPE.finditer(body):
        out += body[end : match.start()].encode()
        if match[3] or match[5]:
            raise ValueError("unable to unescape string")
        hexed = match[2] or ""
        out += bytes([int(match[7], 8) if match[7] else int(hexed, 16)]) if match[7] or hexed else _char(match).encode()
        end = match.end()
    return bytes(out + body[end:].encode())
