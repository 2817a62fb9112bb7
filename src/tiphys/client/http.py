"""The transport over HTTPS: any of several servers, tried in turn; certificates or a bearer token."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp
import orjson

from tiphys.api.errors import ApiError, from_status
from tiphys.api.http import JSON
from tiphys.base.outgoing import Connector
from tiphys.client.transport import Query, Unreachable

# A list of everything may be large; a watch has no limit of its own, only the silence of a dead connection.
_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=5)
_STREAM_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5)
_LINE_LIMIT = 8 * 1024 * 1024


class Https:
    """`servers` are URLs without a path; `token` is asked anew for every request, so it may be renewed behind it."""

    def __init__(
        self, servers: Sequence[str], tls: ssl.SSLContext, *, agent: str, token: Callable[[], str] | None = None
    ) -> None:
        self._servers = list(servers)
        self._tls, self._agent, self._token = tls, agent, token
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: bytes = b"",
        content_type: str = JSON,
        accept: str = JSON,
    ) -> bytes:
        failure: Exception | None = None
        for _ in range(len(self._servers)):
            try:
                headers = self._headers(accept, content_type if body else "")
                async with self._open().request(
                    method, self._servers[0] + path, params=query, data=body or None, headers=headers, timeout=_TIMEOUT
                ) as response:
                    data = await response.read()
                    if response.status >= 400:
                        raise _error(data, response.status)
                    return data
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                failure = error
                self._next_server()
        raise Unreachable(f"{method} {path}: no server of {', '.join(self._servers)} answered: {failure}") from failure

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Query | None = None, accept: str = JSON
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        try:
            response = await self._open().get(
                self._servers[0] + path, params=query, headers=self._headers(accept, ""), timeout=_STREAM_TIMEOUT
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._next_server()
            raise Unreachable(f"GET {path}: {error}") from error
        async with response:
            if response.status >= 400:
                raise _error(await response.read(), response.status)
            yield _lines(response)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = Connector(ssl=self._tls, limit=0, keepalive_timeout=60)
            self._session = aiohttp.ClientSession(
                connector=connector, auto_decompress=True, read_bufsize=_LINE_LIMIT, skip_auto_headers=("User-Agent",)
            )
        return self._session

    def _headers(self, accept: str, content_type: str) -> dict[str, str]:
        headers = {"Accept": accept, "User-Agent": self._agent}
        if content_type:
            headers["Content-Type"] = content_type
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token()}"
        return headers

    def _next_server(self) -> None:
        self._servers.append(self._servers.pop(0))


def _error(data: bytes, code: int) -> ApiError:
    try:
        status = orjson.loads(data)
    except orjson.JSONDecodeError:
        status = None
    if not isinstance(status, dict):
        status = {"message": data.decode(errors="replace")}
    return from_status(status, code)


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for line in response.content:
            yield line
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Unreachable(f"{response.url.path}: the connection broke: {error}") from error
