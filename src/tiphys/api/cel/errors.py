"""What goes wrong with an expression: at compilation, as cel-go prints it, and at evaluation.

Source: https://github.com/google/cel-go (common/error.go, the form of the text).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_MAX_SNIPPET = 16_384
_MAX_REPORTED = 100


class CelError(Exception):
    """Base of all errors of this package."""


class EvalError(CelError):
    """An expression that has no value, as `no such key: replicas`."""


class CostExceeded(CelError):
    """An expression that was stopped because it costs too much. Nothing in the language absorbs it."""

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")


class Issue(NamedTuple):
    """One complaint about a source text; `at` is an offset in code points."""

    at: int
    message: str

    def show(self, source: str) -> str:
        before = source[: self.at]
        line = before.count("\n") + 1
        column = self.at - (before.rfind("\n") + 1)
        text = source.split("\n")[line - 1] if source else ""
        shown = f"ERROR: <input>:{line}:{column + 1}: {self.message}"
        if len(text) > _MAX_SNIPPET:
            return shown
        text = text.replace("\t", " ")
        pointer = "".join("．" if ord(char) > 127 else "." for char in text[:column])
        under = "＾" if column < len(text) and ord(text[column]) > 127 else "^"
        return f"{shown}\n | {text}\n | {pointer}{under}"


class CompileError(CelError):
    """A source text that is no expression, or not one of the asked type; `issues` are sorted by place."""

    def __init__(self, source: str, issues: Sequence[Issue]) -> None:
        self.issues = sorted(issues, key=lambda issue: issue.at)
        shown = [issue.show(source) for issue in self.issues[:_MAX_REPORTED]]
        if len(self.issues) > _MAX_REPORTED:
            shown.append(f"{len(self.issues) - _MAX_REPORTED} more errors were truncated")
        self.text = "\n".join(shown)
        super().__init__(f"compilation failed: {self.text}")


class TypeMismatch(CompileError):
    """A valid expression whose type is not the one that is asked for."""

    def __init__(self, message: str) -> None:
        self.issues, self.text = [], message
        CelError.__init__(self, message)
