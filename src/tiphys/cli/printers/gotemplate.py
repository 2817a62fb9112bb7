"""`-o go-template=`: Go's text/template, as far as command lines use it.

Actions: fields, variables, `range`/`else`, `if`/`else if`/`else`, `with`, pipelines, parentheses, comments, trim
markers. Functions: and, or, not, eq, ne, lt, le, gt, ge, len, index, print, printf, println, html, base64decode.
Source: https://pkg.go.dev/text/template
"""

from __future__ import annotations

import base64
import html
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any

from tiphys.cli.errors import CliError
from tiphys.cli.printers.columns import go_text

_ACTION = re.compile(r"\{\{(- )?\s*(.*?)\s*( -)?\}\}", re.DOTALL)
_WORD = re.compile(
    r"""\s*("(?:\\.|[^"\\])*"|`[^`]*`|\(|\)|\||:=|,|=|\$?[\w.$-]*\.[\w.-]*|\$\w*|-?\d+(?:\.\d+)?|[\w-]+)""", re.DOTALL
)
Scope = dict[str, Any]
Node = Any


class _Missing:
    """A field that is not there, which prints as Go prints it and is false."""

    def __bool__(self) -> bool:
        return False


MISSING = _Missing()


def compile_template(text: str) -> Callable[[Any], str]:
    """From an object to text. Raises CliError for a template that does not parse."""
    nodes, rest = _block(list(_tokens(text)), 0, text)
    if rest:
        raise CliError(f"error parsing template {text}, unexpected {rest}")

    def show(obj: Any) -> str:
        return "".join(_render(nodes, obj, {"$": obj}))

    return show


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """("text", ...) and ("action", ...), white space trimmed where a marker says so."""
    at, trim = 0, False
    for match in _ACTION.finditer(text):
        before = text[at : match.start()]
        before = before.lstrip() if trim else before
        yield "text", before.rstrip() if match[1] else before
        if not match[2].startswith("/*"):
            yield "action", match[2]
        at, trim = match.end(), bool(match[3])
    rest = text[at:]
    yield "text", rest.lstrip() if trim else rest


def _block(tokens: list[tuple[str, str]], depth: int, text: str) -> tuple[list[Node], str]:
    """Nodes up to the `end` or `else` that closes the block; consumes `tokens`. Returns that word too."""
    nodes: list[Node] = []
    while tokens:
        kind, content = tokens.pop(0)
        if kind == "text":
            nodes.append(content)
            continue
        word, _, rest = content.partition(" ")
        if word in ("end", "else"):
            if depth == 0:
                raise CliError(f"error parsing template {text}, unexpected {{{{{word}}}}}")
            return nodes, content
        if word in ("if", "range", "with"):
            nodes.append(_branch(word, rest, tokens, (depth, text)))
        else:
            nodes.append(("print", _words(content, text)))
    if depth:
        raise CliError(f"error parsing template {text}, unexpected EOF")
    return nodes, ""


def _branch(word: str, condition: str, tokens: list[tuple[str, str]], where: tuple[int, str]) -> Node:
    depth, text = where
    body, closing = _block(tokens, depth + 1, text)
    otherwise: list[Node] = []
    if closing.startswith("else"):
        further = closing[4:].strip()
        if further:
            inner, _, rest = further.partition(" ")
            otherwise = [_branch(inner, rest, tokens, where)]
        else:
            otherwise, _ = _block(tokens, depth + 1, text)
    return word, _words(condition, text), body, otherwise


def _words(text: str, whole: str) -> list[str]:
    words, at = [], 0
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None or match.end() == at:
            if not text[at:].strip():
                break
            raise CliError(f"error parsing template {whole}, unexpected {text[at:]!r}")
        words.append(match[1])
        at = match.end()
    return words


def _render(nodes: list[Node], dot: Any, scope: Scope) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, str):
            yield node
        elif node[0] == "print":
            value = _assigned(node[1], dot, scope)
            if value is not None:
                yield _shown(value[0])
        else:
            yield from _run(node, dot, scope)


def _run(node: Node, dot: Any, scope: Scope) -> Iterator[str]:
    word, condition, body, otherwise = node
    names, words = _declared(condition)
    value = _pipeline(list(words), dot, scope)
    if word == "range":
        pairs = list(enumerate(value)) if isinstance(value, list) else []
        if isinstance(value, dict):
            pairs = sorted(value.items())
        for key, item in pairs:
            inner = dict(scope)
            inner.update(zip(names, (key, item) if len(names) == 2 else (item,), strict=False))
            yield from _render(body, item, inner)
        if not pairs:
            yield from _render(otherwise, dot, scope)
        return
    inner = {**scope, **dict.fromkeys(names, value)}
    if _true(value):
        yield from _render(body, value if word == "with" else dot, inner)
    else:
        yield from _render(otherwise, dot, inner)


def _declared(words: list[str]) -> tuple[list[str], list[str]]:
    """Variables before `:=`, and the pipeline after it."""
    if ":=" in words:
        at = words.index(":=")
        return [word for word in words[:at] if word != ","], words[at + 1 :]
    return [], words


def _assigned(words: list[str], dot: Any, scope: Scope) -> list[Any] | None:
    """The value in a list, or None for an assignment, which prints nothing."""
    for sign in (":=", "="):
        if len(words) > 2 and words[1] == sign:
            scope[words[0]] = _pipeline(words[2:], dot, scope)
            return None
    return [_pipeline(list(words), dot, scope)]


def _pipeline(words: list[str], dot: Any, scope: Scope) -> Any:
    """Consumes `words` up to a closing parenthesis."""
    value, piped = _command(words, dot, scope, [])
    while piped:
        value, piped = _command(words, dot, scope, [value])
    return value


def _command(words: list[str], dot: Any, scope: Scope, last: list[Any]) -> tuple[Any, bool]:
    name = ""
    arguments: list[Any] = []
    while words:
        word = words.pop(0)
        if word == "|":
            return _apply(name, arguments + last), True
        if word == ")":
            break
        if word == "(":
            arguments.append(_pipeline(words, dot, scope))
        elif not name and not arguments and word in _FUNCTIONS:
            name = word
        else:
            arguments.append(_operand(word, dot, scope))
    return _apply(name, arguments + last), False


def _apply(name: str, arguments: list[Any]) -> Any:
    if not name:
        return arguments[0] if arguments else None
    try:
        return _FUNCTIONS[name](*arguments)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise CliError(f"error executing template: error calling {name}: {error}") from error


def _operand(word: str, dot: Any, scope: Scope) -> Any:
    if word[0] == '"':
        return word[1:-1].encode().decode("unicode_escape").encode("latin-1", "replace").decode(errors="replace")
    if word[0] == "`":
        return word[1:-1]
    if re.fullmatch(r"-?\d+", word):
        return int(word)
    if word in ("true", "false"):
        return word == "true"
    if word == "nil":
        return None
    first, *path = word.split(".")
    value = scope.get(first, MISSING) if first.startswith("$") else dot
    if first and not first.startswith("$"):
        raise CliError(f'function "{first}" not defined')
    for part in path:
        if part:
            value = value.get(part, MISSING) if isinstance(value, dict) else MISSING
    return value


def _true(value: Any) -> bool:
    return bool(value) and value is not MISSING


def _shown(value: Any) -> str:
    return "<no value>" if value is None or value is MISSING else go_text(value)


def _printf(form: str, *values: Any) -> str:
    rest = list(values)

    def one(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        value = rest.pop(0) if rest else ""
        kind = match[2]
        if kind in "vs":
            return ("%" + match[1] + "s") % _shown(value)
        if kind == "q":
            return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
        return str(("%" + match[1] + kind) % value)

    return re.sub(r"%([-+ 0#]*\d*(?:\.\d+)?)([vsqdfxXte%])", one, form)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key, MISSING) if isinstance(value, dict) else value[key]
    return value


def _compare(test: Callable[[Any, Any], bool]) -> Callable[..., bool]:
    return lambda one, other: bool(test(one, other))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *values: next((value for value in values if not _true(value)), values[-1]),
    "or": lambda *values: next((value for value in values if _true(value)), values[-1]),
    "not": lambda value: not _true(value), "len": len, "index": _index,
    "eq": lambda one, *others: any(one == other for other in others), "ne": _compare(operator.ne),
    "lt": _compare(operator.lt), "le": _compare(operator.le), "gt": _compare(operator.gt), "ge": _compare(operator.ge),
    "print": lambda *values: " ".join(map(_shown, values)),
    "println": lambda *values: " ".join(map(_shown, values)) + "\n",
    "printf": _printf, "html": lambda value: html.escape(_shown(value)),
    "base64decode": lambda value: base64.b64decode(value).decode(errors="replace"),
    "exists": lambda value, *keys: _index(value, *keys) is not MISSING,
}  # fmt: skip
