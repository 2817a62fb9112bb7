"""Requests and answers between two processes that trust each other, over one socket that nobody else can open.

Either side asks and answers: `ask` has the form of a server's `handle`, so what runs against a server in its own
process runs against one at the other end. Who a request is from, the other side believes; so the socket is a pair that
is handed to a child, never a name in the file system.

Frames are a length and a msgpack array whose first item tells what it is. Of a stream one chunk at a time is under way,
so that a slow reader holds up its own stream and nobody else's.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, cast

import msgspec

from tiphys.api.http import Handler, Request, Response, User
from tiphys.base.log import Log
from tiphys.client.transport import Unreachable

_log = Log("pipe")
ASK, ANSWER, STREAM, CHUNK, END, CANCEL, MORE = range(7)
_HEAD = 4
_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
Frame = list[Any]


class Pipe(asyncio.Protocol):
    """Give it to `loop.create_connection(..., sock=...)`; `closed` is set when the other side is gone."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.closed = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._writable = asyncio.Event()
        self._numbers = itertools.count(1)
        # What was asked and is not answered yet, and the streams that came of it.
        self._asked: dict[int, asyncio.Future[Frame]] = {}
        self._streams: dict[int, asyncio.Queue[Frame]] = {}
        # What the other side asked, and the streams that wait until it wants more.
        self._answering: dict[int, asyncio.Task[None]] = {}
        self._wanted: dict[int, asyncio.Event] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.closed.set()
        self._writable.set()
        for future in self._asked.values():
            if not future.done():
                future.set_exception(_gone())
        for queue in self._streams.values():
            queue.put_nowait([END, 0])
        for task in self._answering.values():
            task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def close(self) -> None:
        """End the connection, and wait for what was being answered."""
        if self._transport is not None:
            self._transport.abort()
        await self.closed.wait()
        if self._answering:
            await asyncio.wait(list(self._answering.values()))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= _HEAD:
            end = at + _HEAD + int.from_bytes(buffer[at : at + _HEAD])
            if end > len(buffer):
                break
            self._take(_decode(memoryview(buffer)[at + _HEAD : end]))
            at = end
        del buffer[:at]

    def _take(self, frame: Frame) -> None:
        kind, number = frame[0], frame[1]
        if kind == ASK:
            task = asyncio.ensure_future(self._answer(number, frame))
            self._answering[number] = task
            task.add_done_callback(lambda _: self._answering.pop(number, None))
        elif kind in (ANSWER, STREAM):
            future = self._asked.get(number)
            if future is not None and not future.done():
                future.set_result(frame)
        elif kind in (CHUNK, END):
            if number in self._streams:
                self._streams[number].put_nowait(frame)
        elif kind == CANCEL:
            if number in self._answering:
                self._answering[number].cancel()
        elif kind == MORE and number in self._wanted:
            self._wanted[number].set()

    async def _send(self, *frame: Any) -> None:
        """Raises Unreachable."""
        await self._writable.wait()
        self._write(frame)

    def _write(self, frame: tuple[Any, ...]) -> None:
        if self._transport is None:
            raise _gone()
        data = _encode(frame)
        self._transport.write(len(data).to_bytes(_HEAD) + data)

    async def ask(self, request: Request) -> Response:
        """The other side's answer. Raises Unreachable."""
        number = next(self._numbers)
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        user = request.user
        who = (user.name, list(user.groups)) if user is not None else None
        queue: asyncio.Queue[Frame] = asyncio.Queue()
        self._streams[number] = queue
        kept = False
        try:
            await self._send(
                ASK, number, request.method, request.path, dict(request.query), dict(request.headers), request.body, who
            )
            answer = await future
            if answer[0] == ANSWER:
                return Response(answer[2], answer[3])
            kept = True
            return Response(answer[2], stream=self._chunks(number, queue))
        finally:
            del self._asked[number]
            if not kept:
                del self._streams[number]
            if not future.done() or future.cancelled():
                self._cancel(number)

    def _cancel(self, number: int) -> None:
        with suppress(Unreachable):
            self._write((CANCEL, number))

    async def _chunks(self, number: int, queue: asyncio.Queue[Frame]) -> AsyncGenerator[bytes]:
        ended = False
        try:
            while True:
                frame = await queue.get()
                if frame[0] == END:
                    ended = True
                    if self._transport is None:
                        raise _gone()
                    return
                yield frame[2]
                await self._send(MORE, number)
        finally:
            del self._streams[number]
            if not ended:
                self._cancel(number)

    async def _answer(self, number: int, frame: Frame) -> None:
        _, _, method, path, query, headers, body, who = frame
        user = User(who[0], groups=tuple(who[1])) if who is not None else None
        try:
            response = await self._handler(Request(method, path, query, headers, body, user))
            if response.stream is None:
                await self._send(ANSWER, number, response.status, response.body)
            else:
                await self._stream(number, response)
        except Unreachable:
            _log.debug("nobody is left to answer", path=path)
        except Exception as error:  # noqa: BLE001 - the boundary: whoever asked gets an answer, the log a trace
            _log.error("request failed", method=method, path=path, error=error)
            with suppress(Unreachable):
                self._write((ANSWER, number, 500, b"{}"))

    async def _stream(self, number: int, response: Response) -> None:
        wanted = self._wanted[number] = asyncio.Event()
        stream = response.stream
        assert stream is not None, "asked only for answers that are streams"
        try:
            await self._send(STREAM, number, response.status)
            async for chunk in stream:
                wanted.clear()
                await self._send(CHUNK, number, chunk)
                await wanted.wait()
            await self._send(END, number)
        finally:
            del self._wanted[number]
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()


def _gone() -> Unreachable:
    return Unreachable("the process at the other end of the pipe is gone")
