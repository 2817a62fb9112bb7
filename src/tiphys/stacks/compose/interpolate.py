"""`${VAR:-default}` and its kin, in every text of a file.

Source: https://docs.docker.com/reference/compose-file/interpolation/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tiphys.stacks.problems import Problems

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def interpolated(value: Any, variables: Mapping[str, str], problems: Problems, path: str = "") -> Any:
    """The value with every text expanded; what is wrong goes to `problems`."""
    if isinstance(value, dict):
        inner = {k: interpolated(v, variables, problems, f"{path}.{k}" if path else str(k)) for k, v in value.items()}
        return inner
    if isinstance(value, list):
        return [interpolated(item, variables, problems, f"{path}[{at}]") for at, item in enumerate(value)]
    if not isinstance(value, str) or "$" not in value:
        return value
    try:
        return expand(
            value, variables, lambda name: problems.warn(path, f"the variable {name} is not set: taken as empty")
        )
    except ValueError as error:
        problems.refuse(path, str(error))
        return value


def expand(text: str, variables: Mapping[str, str], unset: Any = lambda name: None) -> str:
    """Raises ValueError for a malformed expression and for `:?` without a value. `unset` is told of missing names."""
    out, at = [], 0
    while at < len(text):
        if text[at] != "$":
            out.append(text[at])
            at += 1
            continue
        following = text[at + 1 : at + 2]
        if following == "$":
            out.append("$")
            at += 2
        elif following == "{":
            end = _closing(text, at + 2)
            out.append(_braced(text[at + 2 : end], variables, unset))
            at = end + 1
        elif found := _NAME.match(text, at + 1):
            out.append(_plain(found[0], variables, unset))
            at = found.end()
        else:
            raise ValueError(f"invalid interpolation in {text!r}; write $$ for a dollar sign")
    return "".join(out)


def _closing(text: str, start: int) -> int:
    depth, at = 1, start
    while at < len(text):
        if text.startswith("${", at):
            depth += 1
            at += 1
        elif text[at] == "}":
            depth -= 1
            if not depth:
                return at
        at += 1
    raise ValueError(f"invalid interpolation in {text!r}: a brace is not closed")


def _plain(name: str, variables: Mapping[str, str], unset: Any) -> str:
    if name not in variables:
        unset(name)
    return variables.get(name, "")


def _braced(inner: str, variables: Mapping[str, str], unset: Any) -> str:
    found = _NAME.match(inner)
    if not found:
        raise ValueError(f"invalid interpolation ${{{inner}}}: a variable's name is expected")
    name, rest = found[0], inner[found.end() :]
    if not rest:
        return _plain(name, variables, unset)
    operator = rest[:2] if rest[:1] == ":" else rest[:1]
    word = rest[len(operator) :]
    value = variables.get(name)
    there = bool(value) if operator.startswith(":") else value is not None
    match operator[-1:]:
        case "-":
            return value or "" if there else expand(word, variables, unset)
        case "?":
            if not there:
                raise ValueError(f"required variable {name} is missing a value: {expand(word, variables, unset)}")
            return value or ""
        case "+":
            return expand(word, variables, unset) if there else ""
    raise ValueError(f"invalid interpolation ${{{inner}}}: {rest!r} is no operator")
