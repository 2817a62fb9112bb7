"""The transport over HTTPS: any of several servers, tried in turn; certificates or a bearer token."""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp
import orjson

from tiphys.api.errors import ApiError, ServiceUnavailable, from_status
from tiphys.api.http import JSON
from tiphys.base.outgoing import Connector
from tiphys.base.outgoing import session as outgoing
from tiphys.client.transport import Query, Unreachable

# A list of everything may be large; a watch has no limit of its own, only the silence of a dead connection.
_SECONDS, _CONNECT_SECONDS = 60.0, 5.0
# With others to go to, one that does not take a connection is left sooner.
_IMPATIENT_SECONDS = 2.0
# After this long without a sign of the other machine a connection counts as lost.
_LOST_SECONDS = 2.0
# By then the answer to a watch begins, though it may have no end.
_ANSWER_SECONDS = 10.0
_LINE_LIMIT = 8 * 1024 * 1024
_FAULTS = (aiohttp.ClientError, TimeoutError, OSError)


class Https:
    """`servers` are URLs without a path; `token` is asked anew for every request, so it may be renewed behind it.

    All go to the first server until it fails; then to the next, and what still hangs on the one that failed is broken
    off, so that watches move too. A write goes to another server only if it surely did not reach the first.
    """

    def __init__(
        self, servers: Sequence[str], tls: ssl.SSLContext, *, agent: str, token: Callable[[], str] | None = None
    ) -> None:
        self._servers = list(servers)
        self._tls, self._agent, self._token = tls, agent, token
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._streams: dict[str, set[aiohttp.ClientResponse]] = {}

    @property
    def server(self) -> str:
        """The URL that requests go to now."""
        return self._servers[0]

    async def use(self, servers: Sequence[str]) -> None:
        """Know these servers from now on; the present one stays the first if it is among them."""
        present = self.server
        self._servers = [*(url for url in servers if url == present), *(url for url in servers if url != present)]
        for url in self._sessions.keys() - set(servers):
            await self._break_off(url)

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: bytes = b"",
        content_type: str = JSON,
        accept: str = JSON,
        within: float = _SECONDS,
    ) -> bytes:
        headers = self._headers(accept, content_type if body else "")
        failure: Exception | None = None
        left, again = len(self._servers), method == "GET"
        while left:
            left -= 1
            url, timeout = self.server, self._timeout(within)
            try:
                async with self._open(url).request(
                    method, url + path, params=query, data=body or None, headers=headers, timeout=timeout
                ) as response:
                    data = await response.read()
                if response.status < 400:
                    return data
                refusal = _error(data, response.status)
                if not isinstance(refusal, ServiceUnavailable):
                    raise refusal
                # It has lost its store, perhaps; another may have not.
                self._next_server(url)
                if method != "GET":
                    raise refusal
                failure = refusal
            except _FAULTS as fault:
                failure = fault
                if again and _is_ended(fault):
                    # A connection that waited for its next use may have been closed meanwhile.
                    left, again = left + 1, False
                    continue
                await self._leave(url)
                if method != "GET" and not isinstance(fault, aiohttp.ClientConnectorError):
                    break
        if isinstance(failure, ApiError):
            raise failure
        tried = ", ".join(self._servers)
        what = str(failure) or type(failure).__name__
        raise Unreachable(f"{method} {path}: no server of {tried} answered: {what}") from failure

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Query | None = None, accept: str = JSON
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        url = self.server
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                response = await self._open(url).get(
                    url + path, params=query, headers=self._headers(accept, ""), timeout=self._timeout(None)
                )
        except _FAULTS as error:
            await self._leave(url)
            raise Unreachable(f"GET {path}: {str(error) or type(error).__name__}") from error
        async with response:
            if response.status >= 400:
                refusal = _error(await response.read(), response.status)
                if isinstance(refusal, ServiceUnavailable):
                    self._next_server(url)
                raise refusal
            streams = self._streams.setdefault(url, set())
            streams.add(response)
            try:
                yield _lines(response)
            finally:
                streams.discard(response)

    async def close(self) -> None:
        """Break off whatever is under way; what is asked for afterwards goes over new connections."""
        for url in list(self._sessions):
            await self._break_off(url)

    async def _break_off(self, url: str) -> None:
        session = self._sessions.pop(url, None)
        # A connection that is closed from this side leaves those who read from it waiting.
        for response in self._streams.pop(url, ()):
            response.content.set_exception(aiohttp.ClientConnectionError("broken off"))
        if session is not None:
            await session.close()

    def _timeout(self, total: float | None) -> aiohttp.ClientTimeout:
        connect = _IMPATIENT_SECONDS if len(self._servers) > 1 else _CONNECT_SECONDS
        return aiohttp.ClientTimeout(total=total, sock_connect=connect)

    def _open(self, url: str) -> aiohttp.ClientSession:
        session = self._sessions.get(url)
        if session is None:
            connector = Connector(ssl=self._tls, limit=0, keepalive_timeout=60, lost_after=_LOST_SECONDS)
            session = self._sessions[url] = outgoing(
                connector, auto_decompress=True, read_bufsize=_LINE_LIMIT, skip_auto_headers=("User-Agent",)
            )
        return session

    def _headers(self, accept: str, content_type: str) -> dict[str, str]:
        headers = {"Accept": accept, "User-Agent": self._agent}
        if content_type:
            headers["Content-Type"] = content_type
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token()}"
        return headers

    def _next_server(self, failed: str) -> None:
        """Others may have found out at the same time: the one that failed is left once."""
        if self.server == failed:
            self._servers.append(self._servers.pop(0))

    async def _leave(self, failed: str) -> None:
        self._next_server(failed)
        if self.server != failed:
            await self._break_off(failed)


def _error(data: bytes, code: int) -> ApiError:
    try:
        status = orjson.loads(data)
    except orjson.JSONDecodeError:
        status = None
    if not isinstance(status, dict):
        status = {"message": data.decode(errors="replace")}
    return from_status(status, code)


def _is_ended(fault: Exception) -> bool:
    """Whether the other side has ended a connection that was there."""
    ended = isinstance(fault, aiohttp.ClientOSError) and fault.errno in (errno.ECONNRESET, errno.EPIPE)
    return ended or isinstance(fault, aiohttp.ServerDisconnectedError)


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for line in response.content:
            yield line
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Unreachable(f"{response.url.path}: the connection broke: {error}") from error
