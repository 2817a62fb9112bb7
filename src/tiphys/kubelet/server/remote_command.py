"""Exec and attach over a WebSocket, which ends here: the runtime gets SPDY streams.

The first byte of a message is its channel: 0 stdin, 1 stdout, 2 stderr, 3 the outcome as a v1.Status, 4 the terminal's
size as {"Width", "Height"}. v5 adds 255: the channel named by the second byte ends, which for stdin becomes the end of
the SPDY stream, so the container's process sees the end of its input. In the base64 protocols messages are text, the
channel a digit. Output is read no faster than the client takes it, input no faster than the runtime does.
Source: https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from contextlib import suppress
from typing import NamedTuple

import orjson
from aiohttp import WSMessage, WSMsgType, web

from tiphys.kubelet.runtime import ExecOptions
from tiphys.kubelet.server import websockets
from tiphys.kubelet.server.runtime_stream import Connection
from tiphys.kubelet.server.spdy import Frame, SpdyFault

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_NAMES = {ERROR: "error", STDIN: "stdin", STDOUT: "stdout", STDERR: "stderr", RESIZE: "resize"}
_OUTCOME_LIMIT = 64 * 1024
_STALL_SECONDS = 5.0
_V4, _V3 = "v4.channel.k8s.io", "v3.channel.k8s.io"


class Dialect(NamedTuple):
    """What differs between sub-protocols. `spdy`: the runtime's version, which decides the error channel's form."""

    spdy: str
    base64: bool = False
    half_close: bool = False


DIALECTS = {
    "v5.channel.k8s.io": Dialect(_V4, half_close=True),
    "v4.channel.k8s.io": Dialect(_V4),
    "v4.base64.channel.k8s.io": Dialect(_V4, base64=True),
    "channel.k8s.io": Dialect(_V3),
    "base64.channel.k8s.io": Dialect(_V3, base64=True),
    "": Dialect(_V3),
}


def channels(options: ExecOptions) -> list[int]:
    """The channels that become streams, in the order in which they are opened."""
    wanted = {
        ERROR: True, STDIN: options.stdin, STDOUT: options.stdout, STDERR: options.stderr and not options.tty,
        RESIZE: options.tty,
    }  # fmt: skip
    return [channel for channel, asked in wanted.items() if asked]


def unpack(message: WSMessage, dialect: Dialect) -> tuple[int, bytes]:
    """A message's channel and content. Raises ValueError."""
    content = message.data.encode() if message.type is WSMsgType.TEXT else bytes(message.data)
    if not content:
        raise ValueError("a message without a channel")
    if not dialect.base64:
        return content[0], content[1:]
    try:
        return content[0] - ord("0"), base64.b64decode(content[1:], validate=True)
    except binascii.Error as error:
        raise ValueError(f"a message that is not base64: {error}") from error


async def serve(request: web.Request, url: str, options: ExecOptions) -> web.StreamResponse:
    """Join the client's WebSocket to the streaming endpoint `url`. Raises web.HTTPException before the upgrade."""
    protocol = websockets.agree(request, DIALECTS)
    dialect = DIALECTS[protocol]
    connection = Connection(await websockets.reach(url, dialect.spdy))
    try:
        session = _Session(await websockets.accept(request, protocol), connection, dialect)
        await session.run(channels(options))
        return session.websocket
    finally:
        connection.close()


class _Session:
    def __init__(self, websocket: websockets.Socket, connection: Connection, dialect: Dialect) -> None:
        self.websocket, self._connection, self._dialect = websocket, connection, dialect
        self._streams: dict[int, int] = {}
        self._outcome = bytearray()
        self._told = False
        # Output streams that may still bring something, and how many messages of input are begun and done.
        self._outputs: set[int] = set()
        self._silent = asyncio.Event()
        self._begun, self._done = 0, 0

    async def run(self, wanted: list[int]) -> None:
        # An empty message tells the client that all is set up.
        with suppress(ConnectionError):
            await self._send(next((c for c in (STDOUT, STDERR) if c in wanted), ERROR), b"")
        # Where the runtime has left already, the output says so.
        with suppress(OSError):
            for channel in wanted:
                self._streams[channel] = await self._connection.open({"streamtype": _NAMES[channel]})
        by_stream = {stream: channel for channel, stream in self._streams.items()}
        self._outputs = {c for c in (STDOUT, STDERR) if c in wanted}
        ways = [self._output(by_stream), self._input(), self._stall()]
        await websockets.race(self.websocket, ways, [self._connection.answer_pings()])

    async def _output(self, by_stream: dict[int, int]) -> None:
        """Until the runtime or the client leaves. The outcome goes last, in one message."""
        why = "the runtime closed the stream before it told the outcome"
        with suppress(ConnectionError):
            try:
                while (frame := await self._connection.receive()) is not None:
                    channel = by_stream.get(frame.stream)
                    if channel in (STDOUT, STDERR):
                        await self._pass_on(channel, frame)
                    elif channel == ERROR and len(self._outcome) < _OUTCOME_LIMIT:
                        self._outcome += frame.payload
            except SpdyFault as fault:
                why = f"the runtime's stream: {fault}"
            await self._tell_outcome(why)

    async def _pass_on(self, channel: int, frame: Frame) -> None:
        if frame.payload:
            await self._send(channel, frame.payload)
        if frame.fin:
            self._outputs.discard(channel)
            if not self._outputs:
                self._silent.set()

    async def _stall(self) -> None:
        """Until the runtime takes no input of a process whose output has ended.

        containerd 1.6 waits for ever to pass on what a process that has ended did not read, and tells no outcome.
        """
        await self._silent.wait()
        seen = -1
        while self._begun == self._done or self._done != seen:
            seen = self._done
            await asyncio.sleep(_STALL_SECONDS)
        with suppress(ConnectionError):
            await self._tell_outcome("the command did not read all of its input, and the runtime tells no outcome")

    async def _tell_outcome(self, otherwise: str) -> None:
        if self._told:
            return
        self._told = True
        outcome = bytes(self._outcome)
        if not outcome and self._dialect.spdy == _V4:
            status = {"status": "Failure", "reason": "InternalError", "code": 500, "message": otherwise}
            outcome = orjson.dumps({"kind": "Status", "apiVersion": "v1", "metadata": {}, **status})
        if outcome:
            await self._send(ERROR, outcome)

    async def _send(self, channel: int, content: bytes) -> None:
        if self._dialect.base64:
            await self.websocket.send_str(f"{channel}{base64.b64encode(content).decode()}")
        else:
            await self.websocket.send_bytes(bytes([channel]) + content)

    async def _input(self) -> None:
        """Until the client leaves. What the runtime takes no more is dropped: its output may go on."""
        async for message in self.websocket:
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                return
            self._begun += 1
            try:
                await self._take(*unpack(message, self._dialect))
                self._done += 1
            except ValueError as error:
                await self.websocket.close(code=1003, message=str(error).encode())
                return
            except OSError:
                self._streams.clear()
                self._done = self._begun

    async def _take(self, channel: int, content: bytes) -> None:
        if channel == CLOSE and self._dialect.half_close:
            stream = self._streams.pop(STDIN, None) if content == bytes([STDIN]) else None
            if stream is not None:
                await self._connection.write(stream, b"", fin=True)
        elif channel in (STDIN, RESIZE) and channel in self._streams and content:
            await self._connection.write(self._streams[channel], content)
