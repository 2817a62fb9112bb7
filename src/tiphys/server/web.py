"""The HTTPS face of the API server: aiohttp's requests into ours, our responses into its.

Client certificates are asked for, not required; streams are written chunk by chunk, and a client that does not read
keeps only its own watch waiting.
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from urllib.parse import parse_qs

from aiohttp import web

from tiphys.api import errors
from tiphys.api.http import Request, Response, User
from tiphys.server.app import ApiServer, failure
from tiphys.server.authn import Authenticator
from tiphys.server.objects import MAX_BODY
from tiphys.server.route import target_of

# Answers beyond this many bytes are compressed for those who take it.
_LARGE = 128 * 1024
_GROUPS = "impersonate-group"
# Takes over the connection of an upgrade (exec, attach, port-forward, proxy); answers None where it is none.
Upgrade = Callable[[web.BaseRequest, Request], Awaitable[web.StreamResponse | None]]


class Front:
    def __init__(
        self, server: ApiServer, authenticator: Authenticator, connect: Upgrade, remote: Upgrade | None = None
    ) -> None:
        """`remote` takes the upgrades that other servers answer."""
        self._server, self._authenticator, self._connect = server, authenticator, connect
        self._remote: Upgrade = remote or _nobody
        self._runner: web.ServerRunner | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext) -> None:
        # Handler cancellation: a client that goes away ends its request and its watch at once.
        self._runner = web.ServerRunner(
            web.Server(self._handle, access_log=None, handler_cancellation=True, keepalive_timeout=180.0),
            shutdown_timeout=1.0,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=tls, backlog=1024).start()

    @property
    def port(self) -> int:
        """The port that is listened on, also where 0 was asked for; 0 before `start`."""
        return int(self._runner.addresses[0][1]) if self._runner is not None else 0

    async def stop(self) -> None:
        self._server.watches.drain()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        try:
            request = await self._request(http)
        except errors.ApiError as error:
            return _plain(failure(error))
        upgraded = await self._upgrade(http, request)
        if upgraded is not None:
            return upgraded
        response = await self._server.handle(request)
        if response.stream is None:
            if len(response.body) > _LARGE and "gzip" in http.headers.get("Accept-Encoding", ""):
                response.body = await asyncio.to_thread(_gzip, response.body)
                response.headers["Content-Encoding"] = "gzip"
            return _plain(response)
        return await _stream(http, response)

    async def _upgrade(self, http: web.BaseRequest, request: Request) -> web.StreamResponse | None:
        if target_is_upgrade(http) and request.path.startswith("/apis/"):
            try:
                passed = await self._remote(http, request)
            except errors.ApiError as error:
                return _plain(failure(error))
            if passed is not None:
                return passed
        target = target_of(request)
        if target.subresource not in ("exec", "attach", "portforward", "proxy", "log"):
            return None
        try:
            return await self._connect(http, request)
        except errors.ApiError as error:
            return _plain(failure(error))

    async def _request(self, http: web.BaseRequest) -> Request:
        url = http.rel_url
        body = b""
        if http.body_exists and not target_is_upgrade(http):
            length = http.content_length
            if length is not None and length > MAX_BODY:
                raise errors.RequestEntityTooLarge(f"Request entity too large: limit is {MAX_BODY} bytes")
            body = await _read(http)
        user = await self._user(http)
        query = parse_qs(url.raw_query_string, keep_blank_values=True) if url.raw_query_string else {}
        headers: Mapping[str, str] = http.headers
        if _GROUPS in headers:
            # The one header that means more than its first value.
            headers = {**{name.lower(): value for name, value in headers.items()}, _GROUPS: _joined(http)}
        return Request(http.method, url.path, query, headers, body, user)

    async def _user(self, http: web.BaseRequest) -> User | None:
        certificate = http.transport.get_extra_info("peercert") if http.transport is not None else None
        try:
            return self._authenticator.authenticate(http.headers, certificate)
        except errors.Unauthorized:
            # A token may have been made a moment ago, through another server too, and not have reached the cache.
            await self._server.caught_up()
            return self._authenticator.authenticate(http.headers, certificate)


async def _nobody(http: web.BaseRequest, request: Request) -> web.StreamResponse | None:
    return None


def _joined(http: web.BaseRequest) -> str:
    return ",".join(http.headers.getall(_GROUPS))


def target_is_upgrade(http: web.BaseRequest) -> bool:
    return "upgrade" in http.headers.get("connection", "").lower()


async def _read(http: web.BaseRequest) -> bytes:
    chunks, size = [], 0
    async for chunk in http.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY:
            raise errors.RequestEntityTooLarge(f"Request entity too large: limit is {MAX_BODY} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _plain(response: Response) -> web.Response:
    headers = {**response.headers, "Content-Type": response.content_type}
    return web.Response(status=response.status, body=response.body, headers=headers)


def _gzip(body: bytes) -> bytes:
    """As little work as gzip allows, as upstream does it: the next level takes three times as long for a tenth less."""
    return zlib.compress(body, 1, wbits=31)


async def _stream(http: web.BaseRequest, response: Response) -> web.StreamResponse:
    answer = web.StreamResponse(
        status=response.status, headers={**response.headers, "Content-Type": response.content_type}
    )
    answer.enable_chunked_encoding()
    stream = response.stream
    assert stream is not None
    try:
        await answer.prepare(http)
        async for chunk in stream:
            await answer.write(chunk)
        with suppress(ConnectionError):
            await answer.write_eof()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # the client left; that is how most watches end
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
    return answer
