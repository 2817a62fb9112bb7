"""A small WebSocket client (RFC 6455) over a blocking socket, and Kubernetes' channels in it.

A client's frames are masked. In `v4.channel.k8s.io` and `v5.channel.k8s.io` the first byte of a message is its channel;
v5 adds 255, which closes the channel that the second byte names.
Source: https://www.rfc-editor.org/rfc/rfc6455 ; k8s.io/apimachinery/pkg/util/remotecommand/constants.go
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
from contextlib import suppress

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
_TEXT, _BINARY, _END, _PING, _PONG = 1, 2, 8, 9, 10


def frame(payload: bytes, opcode: int = _BINARY, mask: bytes | None = None) -> bytes:
    """One whole message as a client sends it."""
    key = os.urandom(4) if mask is None else mask
    size = len(payload)
    if size < 126:
        head = bytes([0x80 | opcode, 0x80 | size])
    elif size < 1 << 16:
        head = bytes([0x80 | opcode, 0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x80 | opcode, 0x80 | 127]) + size.to_bytes(8, "big")
    return head + key + masked(payload, key)


def masked(payload: bytes, key: bytes) -> bytes:
    """`payload` xor the repeated key, done on big integers."""
    size = len(payload)
    if not size:
        return b""
    pattern = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pattern, "big")).to_bytes(size, "big")


class Decoder:
    """Frames from a stream of bytes: `feed` returns (opcode, payload) of the messages that are whole."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._parts = bytearray()
        self._opcode = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        self._buffer += data
        found = []
        while (message := self._frame()) is not None:
            final, opcode, payload = message
            if opcode >= _END:
                found.append((opcode, payload))
                continue
            if opcode:
                self._opcode = opcode
            self._parts += payload
            if final:
                found.append((self._opcode, bytes(self._parts)))
                self._parts.clear()
        return found

    def _frame(self) -> tuple[bool, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, at = buffer[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            if len(buffer) < 2 + width:
                return None
            size, at = int.from_bytes(buffer[2 : 2 + width], "big"), 2 + width
        has_mask = buffer[1] & 0x80
        start = at + 4 if has_mask else at
        if len(buffer) < start + size:
            return None
        payload = bytes(buffer[start : start + size])
        if has_mask:
            payload = masked(payload, bytes(buffer[at:start]))
        result = bool(buffer[0] & 0x80), buffer[0] & 0x0F, payload
        del buffer[: start + size]
        return result


class WebSocket:
    """A connection after its handshake, with the `protocol` that was agreed. Several threads may send; one receives.

    Under TLS reading and writing must not overlap, so the socket does not block and a lock guards each step.
    """

    def __init__(self, sock: socket.socket, protocol: str = "") -> None:
        sock.setblocking(False)
        self.protocol = protocol
        self._socket = sock
        self._decoder = Decoder()
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._ready: list[tuple[int, bytes]] = []

    def send(self, payload: bytes, opcode: int = _BINARY) -> None:
        """Raises OSError when the connection has ended."""
        data = memoryview(frame(payload, opcode))
        # Frames of two threads must not mix; what has begun is sent to its end.
        with self._sending:
            while data:
                try:
                    with self._lock:
                        data = data[self._socket.send(data) :]
                except (BlockingIOError, ssl.SSLWantWriteError):
                    select.select([], [self._socket], [])
                except ssl.SSLWantReadError:
                    select.select([self._socket], [], [])

    def receive(self) -> bytes | None:
        """The next message, or None at the end of the connection."""
        while True:
            while self._ready:
                opcode, payload = self._ready.pop(0)
                if opcode == _END:
                    return None
                if opcode == _PING:
                    self.send(payload, _PONG)
                elif opcode in (_TEXT, _BINARY):
                    return payload
            data = self._read()
            if not data:
                return None
            self._ready += self._decoder.feed(data)

    def _read(self) -> bytes:
        while True:
            try:
                with self._lock:
                    return self._socket.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError):
                select.select([self._socket], [], [])
            except ssl.SSLWantWriteError:
                select.select([], [self._socket], [])
            except OSError:
                # Reset or closed by ourselves: either way nothing more will come.
                return b""

    def close(self) -> None:
        # A thread whose send the other end does not take would keep us here.
        if not self._sending.locked():
            # The other end may have left already.
            with suppress(OSError):
                self.send(b"\x03\xe8", _END)
        # Wakes the threads that wait for the socket; the lock, lest one sends when TLS is gone and the socket is not.
        with suppress(OSError), self._lock:
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
