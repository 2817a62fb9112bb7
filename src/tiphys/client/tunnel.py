"""A byte tunnel for upgraded connections: the client's handshake is repeated to the other end, then bytes flow.

The other end's answer, whatever it is, goes back as it came; only after a 101 does the connection become a pipe.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from contextlib import suppress

from aiohttp import web

_CHUNK = 64 * 1024
_CONNECT_SECONDS = 5
_DROPPED = frozenset(("host", "authorization", "cookie"))


class TunnelFailed(Exception):
    """The other end cannot be reached, or left during the handshake; the message names it."""


class _Inbound:
    """Takes what the client sends once aiohttp has read the handshake; stops reading while the other end is behind."""

    def __init__(self, transport: asyncio.Transport, writer: asyncio.StreamWriter) -> None:
        self._transport, self._writer = transport, writer
        self.closed = asyncio.Event()
        self._drain: asyncio.Task[None] | None = None

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        if self._writer.is_closing():
            self.closed.set()
            return True, b""
        self._writer.write(data)
        if self._writer.transport.get_write_buffer_size() > _CHUNK and (self._drain is None or self._drain.done()):
            self._transport.pause_reading()
            self._drain = asyncio.get_running_loop().create_task(self._resume())
        return False, b""

    def feed_eof(self) -> None:
        self.closed.set()

    def set_exception(self, error: BaseException, cause: BaseException | None = None) -> None:
        self.closed.set()

    async def _resume(self) -> None:
        with suppress(ConnectionError):
            await self._writer.drain()
        if not self._transport.is_closing():
            self._transport.resume_reading()


async def tunnel(
    http: web.BaseRequest, address: tuple[str, int], path: str, tls: ssl.SSLContext | None = None,
    *, extra: Iterable[tuple[str, str]] = (), server_name: str | None = None,
) -> web.StreamResponse:  # fmt: skip
    """Repeat `http`'s upgrade to `address` (host, port), then pass bytes until either side closes.

    `extra` headers are sent besides the client's; the other end proves to be `server_name`, by default its host.

    Raises TunnelFailed, and ConnectionResetError where the client has left.
    """
    transport = http.transport
    if transport is None:
        raise ConnectionResetError("the client left before its upgrade")
    host, port = address
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname=server_name)
    except (OSError, TimeoutError) as error:
        raise TunnelFailed(f"error dialing backend: {host}:{port}: {error}") from error
    try:
        head = [f"{http.method} {path} HTTP/1.1", f"Host: {host}:{port}"]
        head += [f"{name}: {value}" for name, value in http.headers.items() if name.lower() not in _DROPPED]
        head += [f"{name}: {value}" for name, value in extra]
        writer.write(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
        await writer.drain()
        answer = await reader.readuntil(b"\r\n\r\n")
        status = int(answer.split(b" ", 2)[1])
        if status != 101:
            return await _refused(answer, reader, status)
        inbound = _Inbound(transport, writer)
        http.protocol.set_parser(inbound)  # type: ignore[arg-type]  # aiohttp names its own reader
        transport.write(answer)
        await _pump(http, reader, transport, inbound)
        return _Gone(status=101)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise TunnelFailed(f"backend {host}:{port} closed during the upgrade") from error
    finally:
        writer.close()


async def _pump(
    http: web.BaseRequest, reader: asyncio.StreamReader, transport: asyncio.Transport, inbound: _Inbound
) -> None:
    async def outward() -> None:
        with suppress(ConnectionError):
            while data := await reader.read(_CHUNK):
                transport.write(data)
                # aiohttp's own flow control: waits while the client's socket is full.
                await http.protocol._drain_helper()

    async with asyncio.TaskGroup() as group:
        out = group.create_task(outward())
        gone = group.create_task(inbound.closed.wait())
        await asyncio.wait((out, gone), return_when=asyncio.FIRST_COMPLETED)
        out.cancel()
        gone.cancel()
    transport.close()


async def _refused(answer: bytes, reader: asyncio.StreamReader, status: int) -> web.Response:
    """The other end's refusal as an ordinary answer."""
    headers = {}
    for line in answer.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        headers[name.strip().lower().decode("latin-1")] = value.strip().decode("latin-1")
    length = int(headers.get("content-length", "0") or 0)
    body = await reader.readexactly(length) if length else b""
    content_type = headers.get("content-type", "text/plain")
    return web.Response(status=status, body=body, headers={"Content-Type": content_type})


class _Gone(web.StreamResponse):
    """The answer to a request whose connection was taken over: there is nothing left to write."""

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None
