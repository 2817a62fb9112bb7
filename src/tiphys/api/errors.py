"""The tree of API errors: one class per reason of upstream's `metav1.Status`. The tree is the documentation.

The server raises them, the client rebuilds the same classes from a Status body, so both sides catch the same names.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/ and the API conventions, "Response Status Kind".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field. `reason` is upstream's cause type, such as FieldValueInvalid; `value` is what was sent.

    Build them with `invalid`, `required`, `forbidden`, `duplicate`, `not_supported`, `not_found`, `too_long`,
    `too_many`, `type_invalid`; the text of each is upstream's.
    """

    path: str
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


def _shown(value: Any) -> str:
    """The offending value as Go prints it in a field error."""
    if value is None:
        return "null"
    if isinstance(value, (str, bool, int, float, list, dict)):
        return orjson.dumps(value).decode()
    return str(value)


def _detail(head: str, detail: str) -> str:
    return f"{head}: {detail}" if detail else head


def invalid(path: str, value: Any, detail: str) -> FieldError:
    return FieldError(path, "FieldValueInvalid", _detail(f"Invalid value: {_shown(value)}", detail))


def omitted(path: str, detail: str) -> FieldError:
    """Invalid as a whole: the value is too much to show."""
    return FieldError(path, "FieldValueInvalid", f"Invalid value: {detail}")


def required(path: str, detail: str = "") -> FieldError:
    return FieldError(path, "FieldValueRequired", _detail("Required value", detail))


def forbidden(path: str, detail: str) -> FieldError:
    return FieldError(path, "FieldValueForbidden", _detail("Forbidden", detail))


def duplicate(path: str, value: Any, detail: str = "") -> FieldError:
    return FieldError(path, "FieldValueDuplicate", _detail(f"Duplicate value: {_shown(value)}", detail))


def not_found(path: str, value: Any, detail: str = "") -> FieldError:
    return FieldError(path, "FieldValueNotFound", _detail(f"Not found: {_shown(value)}", detail))


def not_supported(path: str, value: Any, allowed: Iterable[str]) -> FieldError:
    names = ", ".join(f'"{name}"' for name in allowed)
    return FieldError(path, "FieldValueNotSupported", f"Unsupported value: {_shown(value)}: supported values: {names}")


def too_long(path: str, maximum: int) -> FieldError:
    return FieldError(path, "FieldValueTooLong", f"Too long: may not be more than {maximum} bytes")


def too_many(path: str, count: int, maximum: int) -> FieldError:
    items = "item" if maximum == 1 else "items"
    return FieldError(path, "FieldValueTooMany", f"Too many: {count}: must have at most {maximum} {items}")


def type_invalid(path: str, value: Any, detail: str) -> FieldError:
    return FieldError(path, "FieldValueTypeInvalid", _detail(f"Invalid value: {_shown(value)}", detail))


class ApiError(Exception):
    """Any answer that is a Status of failure. `details` is the Status' details object, as sent."""

    code = 500
    reason = "InternalError"

    def __init__(self, message: str, *, details: Mapping[str, Any] | None = None, code: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})
        # The Status' own metadata: a list that expired half-way brings its continue token here.
        self.list_meta: dict[str, Any] = {}
        if code:
            self.code = code

    def status(self) -> dict[str, Any]:
        """The metav1.Status to send."""
        status: dict[str, Any] = {
            "kind": "Status", "apiVersion": "v1", "metadata": self.list_meta, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        }  # fmt: skip
        if not self.reason:
            del status["reason"]
        if self.details:
            status["details"] = self.details
        return status

    @property
    def causes(self) -> Sequence[Mapping[str, str]]:
        causes: Sequence[Mapping[str, str]] = self.details.get("causes", ())
        return causes

    @property
    def retry_after(self) -> int | None:
        """Seconds that the server asks to wait before another try."""
        return self.details.get("retryAfterSeconds")


class BadRequest(ApiError):
    code, reason = 400, "BadRequest"


class Unauthorized(ApiError):
    code, reason = 401, "Unauthorized"


class Forbidden(ApiError):
    code, reason = 403, "Forbidden"


class NotFound(ApiError):
    code, reason = 404, "NotFound"


class MethodNotAllowed(ApiError):
    code, reason = 405, "MethodNotAllowed"


class NotAcceptable(ApiError):
    code, reason = 406, "NotAcceptable"


class Conflict(ApiError):
    """The object is not as the writer thought: read it again and retry."""

    code, reason = 409, "Conflict"


class AlreadyExists(ApiError):
    code, reason = 409, "AlreadyExists"


class Gone(ApiError):
    code, reason = 410, "Gone"


class Expired(ApiError):
    """The resourceVersion or continue token is too old: list again."""

    code, reason = 410, "Expired"


class RequestEntityTooLarge(ApiError):
    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    code, reason = 415, "UnsupportedMediaType"


class Invalid(ApiError):
    code, reason = 422, "Invalid"


class TooManyRequests(ApiError):
    code, reason = 429, "TooManyRequests"


class InternalError(ApiError):
    code, reason = 500, "InternalError"


class ServiceUnavailable(ApiError):
    code, reason = 503, "ServiceUnavailable"


class Timeout(ApiError):
    """The server gave up; whether it happened is unknown."""

    code, reason = 504, "Timeout"


class ServerTimeout(ApiError):
    code, reason = 500, "ServerTimeout"


def _classes(base: type[ApiError]) -> Iterator[type[ApiError]]:
    for cls in base.__subclasses__():
        yield cls
        yield from _classes(cls)


_BY_REASON = {cls.reason: cls for cls in _classes(ApiError)}
_BY_CODE = {cls.code: cls for cls in reversed(list(_classes(ApiError)))}


def from_status(status: Mapping[str, Any], code: int = 0) -> ApiError:
    """The error that a Status body (or, without one, an HTTP code) stands for."""
    code = int(status.get("code") or code or 500)
    cls = _BY_REASON.get(status.get("reason", "")) or _BY_CODE.get(code, ApiError)
    return cls(str(status.get("message", f"HTTP {code}")), details=status.get("details"), code=code)


def _qualified(group: str, resource: str) -> str:
    return f"{resource}.{group}" if group else resource


def no_such(group: str, resource: str, name: str) -> NotFound:
    details = {"name": name, "kind": resource} | ({"group": group} if group else {})
    return NotFound(f'{_qualified(group, resource)} "{name}" not found', details=details)


def exists(group: str, resource: str, name: str) -> AlreadyExists:
    details = {"name": name, "kind": resource} | ({"group": group} if group else {})
    return AlreadyExists(f'{_qualified(group, resource)} "{name}" already exists', details=details)


def conflict(group: str, resource: str, name: str, why: str) -> Conflict:
    details = {"name": name, "kind": resource} | ({"group": group} if group else {})
    message = f'Operation cannot be fulfilled on {_qualified(group, resource)} "{name}": {why}'
    return Conflict(message, details=details)


def denied(group: str, resource: str, name: str, why: str) -> Forbidden:
    details = {"name": name, "kind": resource} | ({"group": group} if group else {})
    shown = f' "{name}"' if name else ""
    return Forbidden(f"{_qualified(group, resource)}{shown} is forbidden: {why}", details=details)


def invalid_object(group: str, kind: str, name: str, errors: Sequence[FieldError]) -> Invalid:
    """422 with one cause per wrong field and upstream's message."""
    shown = str(errors[0]) if len(errors) == 1 else "[" + ", ".join(map(str, errors)) + "]"
    causes = [{"reason": e.reason, "message": e.detail, "field": e.path} for e in errors]
    details = {"name": name, "kind": kind, "causes": causes} | ({"group": group} if group else {})
    return Invalid(f'{_qualified(group, kind)} "{name}" is invalid: {shown}', details=details)
