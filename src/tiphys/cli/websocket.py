"""A small WebSocket client over a blocking socket, and the channels that Kubernetes runs over it.

Each message's first byte is its channel: 0 standard input, 1 output, 2 errors, 3 the outcome as a Status, 4 the terminal's
size; 255 closes the channel that its second byte names (v5). Source: RFC 6455, and KEP-4006
"""

from __future__ import annotations

import os
import socket
import struct
import threading

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
_TEXT, _BINARY, _END, _PING, _PONG = 1, 2, 8, 9, 10
_MAX_FRAME = 64 * 1024 * 1024


class WebSocket:
    """Frames of one connection. Several threads may send; one receives."""

    def __init__(self, sock: socket.socket, protocol: str = "") -> None:
        self.protocol = protocol
        self._sock = sock
        self._lock = threading.Lock()

    def send(self, payload: bytes, opcode: int = _BINARY) -> None:
        mask = os.urandom(4)
        size = len(payload)
        head = bytes([0x80 | opcode])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 1 << 16:
            head += struct.pack("!BH", 0x80 | 126, size)
        else:
            head += struct.pack("!BQ", 0x80 | 127, size)
        with self._lock:
            self._sock.sendall(head + mask + _masked(payload, mask))

    def receive(self) -> bytes | None:
        """The next message's payload, or None at the end of the connection."""
        whole = b""
        while True:
            frame = self._frame()
            if frame is None:
                return None
            final, opcode, payload = frame
            if opcode == _END:
                return None
            if opcode == _PING:
                self.send(payload, _PONG)
            elif opcode != _PONG:
                whole += payload
                if final:
                    return whole

    def close(self) -> None:
        try:
            self.send(struct.pack("!H", 1000), _END)
        except OSError:
            pass  # the other end has left already
        self._sock.close()

    def _frame(self) -> tuple[bool, int, bytes] | None:
        head = self._exactly(2)
        if head is None:
            return None
        size = head[1] & 0x7F
        if size >= 126:
            longer = self._exactly(2 if size == 126 else 8)
            if longer is None:
                return None
            size = int.from_bytes(longer, "big")
        if size > _MAX_FRAME:
            raise OSError(f"the server sent a frame of {size} bytes")
        payload = self._exactly(size)
        return None if payload is None else (bool(head[0] & 0x80), head[0] & 0x0F, payload)

    def _exactly(self, size: int) -> bytes | None:
        parts = []
        while size:
            try:
                part = self._sock.recv(min(size, 1 << 16))
            except ConnectionError:
                return None
            if not part:
                return None
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _masked(payload: bytes, mask: bytes) -> bytes:
    """XOR with the repeated mask, as one big number: fast without a loop over bytes."""
    size = len(payload)
    if not size:
        return b""
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
