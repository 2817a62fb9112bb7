"""gRPC: one channel, calls named by their message types, errors translated once.

The only file that knows the gRPC library's exceptions and channel. A connection that breaks is made anew by the next
call; waiting and retrying is the caller's decision.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self, TypeVar

from google.protobuf.message import Message
from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

M = TypeVar("M", bound=Message)


class RpcError(Exception):
    """The other side refused or could not be reached. `code` is gRPC's name of the status, such as NOT_FOUND."""

    def __init__(self, code: str, message: str, method: str) -> None:
        super().__init__(f"{method}: {message} ({code})")
        self.code, self.message, self.method = code, message, method


class RpcNotFound(RpcError):
    """What the call named does not exist (any more)."""


class RpcExists(RpcError):
    """What the call would make is already there."""


class RpcUnavailable(RpcError):
    """Nobody answered in time: the service is down, starting, or the connection broke."""


_CLASSES: dict[str, type[RpcError]] = {
    "NOT_FOUND": RpcNotFound, "ALREADY_EXISTS": RpcExists,
    "UNAVAILABLE": RpcUnavailable, "DEADLINE_EXCEEDED": RpcUnavailable,
}  # fmt: skip


def _translate(error: BaseException, method: str) -> RpcError:
    if isinstance(error, GRPCError):
        code = error.status.name
        return _CLASSES.get(code, RpcError)(code, error.message or code, method)
    if isinstance(error, asyncio.TimeoutError):
        return RpcUnavailable("DEADLINE_EXCEEDED", "no answer in time", method)
    return RpcUnavailable("UNAVAILABLE", str(error) or type(error).__name__, method)


FAULTS = (GRPCError, StreamTerminatedError, OSError, asyncio.TimeoutError, ConnectionError)


class RpcChannel:
    """A connection to one service address: a unix socket's path, or HOST:PORT with an optional TLS context."""

    def __init__(self, endpoint: str, tls: ssl.SSLContext | None = None) -> None:
        self.endpoint = endpoint.removeprefix("unix://")
        if self.endpoint.startswith("/"):
            self._channel = Channel(path=self.endpoint)
        else:
            host, _, port = self.endpoint.rpartition(":")
            self._channel = Channel(host.strip("[]"), int(port), ssl=tls)

    async def unary(
        self, method: str, request: Message, response: type[M], *, within: float,
        metadata: Mapping[str, str] | None = None,
    ) -> M:  # fmt: skip
        """Call `/package.Service/Method` once. `within` is in seconds. Raises RpcError."""
        call: UnaryUnaryMethod[Any, M] = UnaryUnaryMethod(self._channel, method, type(request), response)
        try:
            return await call(request, timeout=within, metadata=metadata)
        except FAULTS as error:
            raise _translate(error, method) from error

    async def stream(
        self, method: str, request: Message, response: type[M], *, metadata: Mapping[str, str] | None = None
    ) -> AsyncIterator[M]:
        """Yield every message of a server stream; ends when the server ends it, raises RpcError when it breaks."""
        call: UnaryStreamMethod[Any, M] = UnaryStreamMethod(self._channel, method, type(request), response)
        try:
            async with call.open(metadata=metadata) as stream:
                await stream.send_message(request, end=True)
                async for message in stream:
                    yield message
        except FAULTS as error:
            raise _translate(error, method) from error

    @property
    def raw(self) -> Channel:
        """The library's channel, for the bidirectional streams of neighbouring adapters."""
        return self._channel

    def close(self) -> None:
        self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def translated(error: GRPCError | StreamTerminatedError | OSError, method: str) -> RpcError:
    """The RpcError of a fault met on a `raw` stream."""
    return _translate(error, method)


__all__ = ["RpcChannel", "RpcError", "RpcExists", "RpcNotFound", "RpcUnavailable", "Status", "translated"]
