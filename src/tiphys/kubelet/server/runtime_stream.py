"""Connections to the runtime's streaming server: an HTTP upgrade to SPDY/3.1, and the streams within.

Reading and writing go by the socket itself: there are no buffers beside the kernel's, so who is slow slows the other
end, and what the runtime said before it closed can be read even when writing has failed already. The runtimes' SPDY
library (moby/spdystream) neither sends nor heeds WINDOW_UPDATE, so TCP is the only flow control there is.
Source: https://kubernetes.io/docs/concepts/architecture/cri/ ; k8s.io/kubelet/pkg/cri/streaming
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from tiphys.kubelet.server import spdy
from tiphys.kubelet.server.spdy import Frame, Kind

_CHUNK = 64 * 1024
_HEAD_LIMIT = 16 * 1024
_BODY_LIMIT = 64 * 1024
_DIAL_SECONDS = 10
_PINGS = 16


class Unreachable(Exception):
    """The streaming server does not answer as HTTP; the message says why."""


class Refused(Exception):
    """The streaming server does not upgrade: its status and text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Wire:
    """A connection after its upgrade. `close` it."""

    def __init__(self, sock: socket.socket, early: bytes) -> None:
        self._socket, self._early = sock, early

    async def receive(self) -> bytes:
        """What comes next, at most 64 KiB; empty at the end, also at an abrupt one."""
        if self._early:
            early, self._early = self._early, b""
            return early
        with suppress(OSError):
            return await asyncio.get_running_loop().sock_recv(self._socket, _CHUNK)
        return b""

    async def send(self, payload: bytes) -> None:
        """Waits until the kernel has taken all. One at a time. Raises OSError when the other end reads no more."""
        await asyncio.get_running_loop().sock_sendall(self._socket, payload)

    def close(self) -> None:
        self._socket.close()


async def dial(url: str, protocol: str) -> Wire:
    """Upgrade to SPDY/3.1 with the named X-Stream-Protocol-Version. Raises Refused and Unreachable."""
    there = urlsplit(url)
    host, port = there.hostname or "127.0.0.1", there.port or 80
    head = (
        f"POST {there.path}{'?' if there.query else ''}{there.query} HTTP/1.1\r\nHost: {host}:{port}\r\n"
        f"Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: {protocol}\r\n"
        "Content-Length: 0\r\n\r\n"
    )
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(_DIAL_SECONDS):
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
            wire = Wire(sock, b"")
            await wire.send(head.encode("latin-1"))
            return Wire(sock, await _handshake(wire))
    except (OSError, TimeoutError) as error:
        sock.close()
        raise Unreachable(f"{host}:{port}: {str(error) or 'no answer in time'}") from error
    except BaseException:
        sock.close()
        raise


async def _handshake(wire: Wire) -> bytes:
    """Read the answer to the upgrade; what came after it."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        more = await wire.receive()
        if not more or len(answer) > _HEAD_LIMIT:
            raise Unreachable("closed during the upgrade")
        answer += more
    head, _, rest = answer.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(words) < 2 or not words[1].isdigit():
        raise Unreachable("answered the upgrade with something that is not HTTP")
    status = int(words[1])
    if status != 101:
        length = _content_length(head)
        while len(rest) < length and (more := await wire.receive()):
            rest += more
        raise Refused(status, rest[:length].decode(errors="replace").strip())
    return rest


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return min(int(value), _BODY_LIMIT)
    return 0


class Connection:
    """SPDY over a Wire. Several tasks may `write`; one calls `receive`, another `answer_pings`.

    A write that is cancelled may have sent half a frame: the connection is then to be closed.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._encoder, self._decoder = spdy.Encoder(), spdy.Decoder()
        self._frames: Iterator[Frame] = iter(())
        self._writing = asyncio.Lock()
        self._pings: asyncio.Queue[int] = asyncio.Queue(_PINGS)
        self._next = 1

    async def open(self, headers: Mapping[str, str]) -> int:
        """A new stream's id. Raises OSError."""
        async with self._writing:
            stream, self._next = self._next, self._next + 2
            await self._wire.send(self._encoder.open(stream, headers))
            return stream

    async def write(self, stream: int, payload: bytes, fin: bool = False) -> None:
        """Send all of `payload`; `fin` ends our half of the stream. Raises OSError."""
        for at in range(0, max(len(payload), 1), _CHUNK):
            piece = payload[at : at + _CHUNK]
            async with self._writing:
                await self._wire.send(spdy.data(stream, piece, fin and at + _CHUNK >= len(payload)))

    async def receive(self) -> Frame | None:
        """The next frame that is not a ping; None at the end, which is the other's GOAWAY too. Raises SpdyFault."""
        while True:
            for frame in self._frames:
                if frame.kind is Kind.GOAWAY:
                    return None
                if frame.kind is not Kind.PING:
                    return frame
                self._ping(frame.stream)
            received = await self._wire.receive()
            if not received:
                return None
            self._frames = self._decoder.feed(received)

    def _ping(self, number: int) -> None:
        # Ours would be odd, and we send none. Who sends more pings than can be answered gets fewer answers.
        if number % 2 == 0:
            with suppress(asyncio.QueueFull):
                self._pings.put_nowait(number)

    async def answer_pings(self) -> None:
        """For ever. A task of its own: reading must not wait until the other end reads."""
        with suppress(OSError):
            while True:
                number = await self._pings.get()
                async with self._writing:
                    await self._wire.send(spdy.ping(number))

    def close(self) -> None:
        self._wire.close()
