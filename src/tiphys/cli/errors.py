"""What a verb may fail with, and how kubectl words it. The texts are upstream's, because scripts read them.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/ and kubectl's behaviour.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class CliError(Exception):
    """A failure of our own; printed as `error: MESSAGE`, or as it stands when `plain`."""

    def __init__(self, message: str, code: int = 1, *, plain: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.plain = plain


class UsageError(CliError):
    """Wrong words on the command line; printed with a hint at the verb's help."""


class Unreachable(CliError):
    """No answer from the server."""


class Exit(Exception):
    """End with this code; everything was said already."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class ServerError(Exception):
    """A Status of failure."""

    def __init__(self, status: dict[str, Any], code: int = 0) -> None:
        self.status = status
        self.code: int = code or status.get("code") or 500
        self.reason: str = status.get("reason") or ""
        self.message: str = status.get("message") or "unknown"
        self.details: dict[str, Any] = status.get("details") or {}
        super().__init__(self.message)

    def when(self, verb: str, source: str) -> ServerError:
        """The same, saying what was done with which file; nothing changes where there is no file."""
        if not source:
            return self
        return ServerError({**self.status, "message": f'error when {verb} "{source}": {self.message}'}, self.code)


class ManyErrors(Exception):
    """Several failures, told one after the other. Build it with `raise_all`."""

    def __init__(self, errors: Sequence[Exception]) -> None:
        super().__init__(f"{len(errors)} errors")
        self.errors = errors


def raise_all(errors: Sequence[Exception]) -> None:
    """Raise what was collected: nothing, the one, or all."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ManyErrors(errors)


def explain(error: Exception) -> str:
    """The text for stderr, as kubectl words it."""
    if isinstance(error, ManyErrors):
        return "\n".join(dict.fromkeys(_message(one) for one in error.errors))
    if isinstance(error, ServerError) and error.reason == "Invalid":
        return _invalid(error)
    return _message(error)


def _message(error: Exception) -> str:
    if isinstance(error, ServerError):
        return _server(error)
    if isinstance(error, CliError) and error.plain:
        return error.message
    return _prefixed(str(error))


def _prefixed(message: str) -> str:
    return message if message.startswith("error: ") else f"error: {message}"


def _server(error: ServerError) -> str:
    if error.reason == "Unauthorized":
        return f"error: You must be logged in to the server ({error.message})"
    reason = f" ({error.reason})" if error.reason else ""
    return f"Error from server{reason}: {error.message}"


def _invalid(error: ServerError) -> str:
    details = error.details
    head = "The request is invalid"
    if not details:
        return f"{head}: {error.message}"
    found = list(dict.fromkeys(f"{cause.get('field', '')}: {cause.get('message', '')}" for cause in _causes(details)))
    if details.get("kind") or details.get("name"):
        head = f'The {details.get("kind", "")} "{details.get("name", "")}" is invalid'
    elif not found:
        head += f": {error.message}"
    if len(found) == 1:
        return f"{head}: {found[0]}"
    return head + (": \n" + "\n".join(f"* {cause}" for cause in found) if found else "")


def _causes(details: dict[str, Any]) -> list[dict[str, Any]]:
    return details.get("causes") or []
