"""An upgraded connection handed to the runtime's streaming server: its handshake repeated there, then bytes both ways.

The streaming server answers for the protocol (SPDY, WebSocket v4), so nothing here understands a frame.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit

from aiohttp import web

_CHUNK = 64 * 1024
_DROPPED = frozenset(("host", "authorization"))


class _Inbound:
    """Takes over what the client sends; stops reading while the streaming server is behind."""

    def __init__(self, transport: asyncio.Transport, writer: asyncio.StreamWriter) -> None:
        self._transport, self._writer = transport, writer
        self._drain: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        if self._writer.is_closing():
            self.ended.set()
            return True, b""
        self._writer.write(data)
        behind = self._writer.transport.get_write_buffer_size() > _CHUNK
        if behind and (self._drain is None or self._drain.done()):
            self._transport.pause_reading()
            self._drain = asyncio.get_running_loop().create_task(self._resume())
        return False, b""

    def feed_eof(self) -> None:
        self.ended.set()

    def set_exception(self, error: BaseException, cause: BaseException | None = None) -> None:
        self.ended.set()

    async def _resume(self) -> None:
        with suppress(ConnectionError):
            await self._writer.drain()
        if not self._transport.is_closing():
            self._transport.resume_reading()


class _Taken(web.StreamResponse):
    """The answer to a request whose connection is a tunnel: nothing is left to write."""

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


async def tunnel(request: web.BaseRequest, url: str) -> web.StreamResponse:
    """Connect the client's upgrade to `url`; returns when either side has closed."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client left before its upgrade")
    there = urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(there.hostname, there.port)
    except OSError as error:
        return web.Response(status=502, text=f"cannot reach the runtime's streaming server: {error}")
    try:
        path = there.path + (f"?{there.query}" if there.query else "")
        head = [f"{request.method} {path} HTTP/1.1", f"Host: {there.netloc}"]
        head += [f"{name}: {value}" for name, value in request.headers.items() if name.lower() not in _DROPPED]
        writer.write(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
        answer = await reader.readuntil(b"\r\n\r\n")
        if int(answer.split(b" ", 2)[1]) != 101:
            body = await _body(answer, reader)
            return web.Response(status=int(answer.split(b" ", 2)[1]), body=body, content_type="text/plain")
        inbound = _Inbound(transport, writer)
        request.protocol.set_parser(inbound)  # type: ignore[arg-type]  # aiohttp names its own reader
        transport.write(answer)
        await _pump(request, reader, transport, inbound)
        return _Taken(status=101)
    except asyncio.IncompleteReadError:
        return web.Response(status=502, text="the runtime's streaming server closed the connection")
    finally:
        writer.close()


async def _pump(
    request: web.BaseRequest, reader: asyncio.StreamReader, transport: asyncio.Transport, inbound: _Inbound
) -> None:
    async def outward() -> None:
        with suppress(ConnectionError):
            while data := await reader.read(_CHUNK):
                transport.write(data)
                # Waits while the client's socket is full.
                await request.protocol._drain_helper()

    async with asyncio.TaskGroup() as group:
        tasks = group.create_task(outward()), group.create_task(inbound.ended.wait())
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
    transport.close()


async def _body(answer: bytes, reader: asyncio.StreamReader) -> bytes:
    """The rest of a refusal."""
    for line in answer.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return await reader.readexactly(int(value))
    return b""
