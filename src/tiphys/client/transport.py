"""How a client reaches an API server: one protocol, over HTTP (`http.py`) or within a process (`inprocess.py`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from tiphys.api.http import JSON

Query = Mapping[str, str]


class Transport(Protocol):
    """Failures are `api.errors.ApiError` rebuilt from the Status; no answer at all is `Unreachable`."""

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: bytes = b"",
        content_type: str = JSON,
        accept: str = JSON,
        within: float = 60.0,
    ) -> bytes:
        """One exchange, `within` seconds: the body of the answer, in the form that `accept` asks for."""

    def stream(
        self, path: str, *, query: Query | None = None, accept: str = JSON
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """A GET whose answer is lines without an end: a watch, or a followed log."""

    async def close(self) -> None: ...


class Unreachable(Exception):
    """No API server answered; the request may or may not have been carried out."""
