"""The transport of components that live in the server's process: the same requests, no HTTP, their own identity."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import orjson

from tiphys.api.errors import from_status
from tiphys.api.http import JSON, Handler, Request, Response, User
from tiphys.client.transport import Query, Unreachable


class InProcess:
    """`handler` is the server's front door; it authorizes `user` as it would anybody."""

    def __init__(self, handler: Handler, user: User, agent: str) -> None:
        self._handler, self._user, self._agent = handler, user, agent

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
        headers = {"content-type": content_type, "accept": accept}
        try:
            async with asyncio.timeout(within):
                return (await self._exchange(method, path, query, body, headers)).body
        except TimeoutError as error:
            raise Unreachable(f"{method} {path}: no answer in {within:.0f} s") from error

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Query | None = None, accept: str = JSON
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        response = await self._exchange("GET", path, query, b"", {"accept": accept})
        if response.stream is None:
            raise TypeError(f"GET {path} answered with a body where a stream was asked for")
        lines = _lines(response.stream)
        try:
            yield lines
        finally:
            await lines.aclose()

    async def close(self) -> None: ...

    async def _exchange(
        self, method: str, path: str, query: Query | None, body: bytes, headers: dict[str, str]
    ) -> Response:
        headers["user-agent"] = self._agent
        values = {name: [value] for name, value in (query or {}).items()}
        response = await self._handler(Request(method, path, values, headers, body, self._user, inside=True))
        if response.status >= 400:
            raise from_status(orjson.loads(response.body), response.status)
        return response


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """The server writes whole lines, several to a chunk when many events are ready."""
    try:
        async for chunk in chunks:
            for line in chunk.splitlines():
                yield line
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()
