"""SPDY/3.1 frames, as a client of a container runtime's streaming server needs them. No sockets here.

A frame has a head of eight bytes. Data frames: stream id, flags, length. Control frames: 0x8003, type, flags, length.
Header blocks of SYN_STREAM go through one zlib stream for the connection's life, so an `Encoder` belongs to one
connection and its results must be sent in order. Header blocks that come in are not read: a runtime opens no streams,
and its replies carry no headers.
Source: https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/
"""

from __future__ import annotations

import enum
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_VERSION = 0x8003
_FIN = 0x01
_SYN_STREAM, _PING, _GOAWAY = 1, 6, 7
_CONTROL_LIMIT = 64 * 1024
_NAMES = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_VALUES = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _sized(text: str) -> bytes:
    return len(text).to_bytes(4, "big") + text.encode()


# Section 2.6.10.1: words with their lengths before them, then what often stands in values.
DICTIONARY = b"".join(map(_sized, (*_NAMES.split(), *_VALUES))) + _TAIL.encode()


class SpdyFault(Exception):
    """The other end does not keep to the protocol; the message says how. The connection is of no more use."""


class Kind(enum.Enum):
    DATA = "data"
    PING = "ping"
    GOAWAY = "goaway"
    OTHER = "other"


class Frame(NamedTuple):
    """What came in. `stream` is a ping's id for PING. A long data frame comes as several, the last with its `fin`."""

    kind: Kind
    stream: int
    payload: bytes = b""
    fin: bool = False


_KINDS = {_PING: Kind.PING, _GOAWAY: Kind.GOAWAY}


class Encoder:
    """Frames that go out."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def open(self, stream: int, headers: Mapping[str, str]) -> bytes:
        """SYN_STREAM; names are sent in lower case. A client's streams have odd ids, each greater than the last."""
        block = len(headers).to_bytes(4, "big")
        block += b"".join(_sized(name.lower()) + _sized(value) for name, value in headers.items())
        packed = self._deflate.compress(block) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return _control(_SYN_STREAM, stream.to_bytes(4, "big") + bytes(6) + packed)


def data(stream: int, payload: bytes, fin: bool = False) -> bytes:
    """A data frame; with `fin` the sender's half of the stream ends. `payload` is shorter than 16 MiB."""
    return stream.to_bytes(4, "big") + bytes([_FIN if fin else 0]) + len(payload).to_bytes(3, "big") + payload


def ping(number: int) -> bytes:
    """A ping, or its answer, which is the same frame."""
    return _control(_PING, number.to_bytes(4, "big"))


def _control(kind: int, body: bytes) -> bytes:
    return _VERSION.to_bytes(2, "big") + kind.to_bytes(2, "big") + len(body).to_bytes(4, "big") + body


class Decoder:
    """Frames from a stream of bytes. Data is passed on as it comes, so at most one control frame is kept."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._stream, self._left, self._fin = 0, 0, False

    def feed(self, received: bytes) -> Iterator[Frame]:
        """The frames that `received` completes. Raises SpdyFault."""
        self._buffer += received
        while (frame := self._data() if self._left else self._head()) is not None:
            if frame.kind is not Kind.DATA or frame.payload or frame.fin:
                yield frame

    def _data(self) -> Frame | None:
        if not self._buffer:
            return None
        piece = bytes(self._buffer[: self._left])
        del self._buffer[: self._left]
        self._left -= len(piece)
        return Frame(Kind.DATA, self._stream, piece, self._fin and not self._left)

    def _head(self) -> Frame | None:
        buffer = self._buffer
        if len(buffer) < 8:
            return None
        first, flags, size = int.from_bytes(buffer[:4], "big"), buffer[4], int.from_bytes(buffer[5:8], "big")
        fin = bool(flags & _FIN)
        if first >> 31:
            return self._control(first, fin, size)
        del buffer[:8]
        self._stream, self._left, self._fin = first, size, fin
        return Frame(Kind.DATA, first, b"", fin and not size)

    def _control(self, first: int, fin: bool, size: int) -> Frame | None:
        if first >> 16 != _VERSION:
            raise SpdyFault(f"a control frame of version {first >> 16 & 0x7FFF}, 3 is spoken here")
        if size > _CONTROL_LIMIT:
            raise SpdyFault(f"a control frame of {size} bytes, the limit is {_CONTROL_LIMIT}")
        if len(self._buffer) < 8 + size:
            return None
        body = bytes(self._buffer[8 : 8 + size])
        del self._buffer[: 8 + size]
        # Of SYN_REPLY and HEADERS too the stream's id comes first; one with FIN ends the stream.
        number = int.from_bytes(body[:4], "big")
        return Frame(_KINDS.get(first & 0xFFFF, Kind.OTHER), number, b"", fin)
