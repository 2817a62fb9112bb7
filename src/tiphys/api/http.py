"""An HTTP exchange without a framework: what the API server's core takes and gives.

The aiohttp adapter and the in-process client both speak it, so nothing below them knows how a request arrived.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class User:
    """Who asks, as authentication found: upstream's UserInfo."""

    name: str
    uid: str = ""
    groups: Sequence[str] = ()
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Request:
    """`headers` are looked up by lower-case name; `query` keeps every value of a parameter.

    `inside`: by a component of the server's own process, which paces itself.
    """

    method: str
    path: str
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    user: User | None = None
    inside: bool = False

    def param(self, name: str) -> str:
        """The first value of a query parameter, or the empty string."""
        values = self.query.get(name)
        return values[0] if values else ""

    def flag(self, name: str) -> bool:
        return self.param(name) in ("true", "1", "True", "t", "T", "TRUE")


@dataclass(slots=True)
class Response:
    """`stream` is set instead of `body` for answers without an end, such as a watch: newline-ended JSON lines."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    stream: AsyncIterator[bytes] | None = None


Handler = Callable[[Request], Awaitable[Response]]
