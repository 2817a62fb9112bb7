"""HTTP connections to others, made by the event loop itself.

aiohttp connects a socket of Python's own and hands it to the loop. Under uvloop, a connection that was refused that
way now and then takes another one with it, just accepted under the same number: a client sees its connection end.
Connecting through the loop knows one owner of each socket only.

A network that swallows packets says nothing, and TCP waits for minutes; `lost_after` makes the kernel give up sooner,
also on a connection that only waits to be told something.
Source: https://man7.org/linux/man-pages/man7/tcp.7.html (TCP_USER_TIMEOUT, TCP_KEEPIDLE)
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import aiohttp


class Connector(aiohttp.TCPConnector):
    """A TCPConnector that tries the addresses of a host one after the other.

    `lost_after`: for how many seconds the other side's kernel may acknowledge nothing; None leaves it to the system.
    """

    def __init__(self, *, lost_after: float | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._lost_after = lost_after

    async def _wrap_create_connection(
        self, *args: Any, addr_infos: Any, req: Any, client_error: Any = aiohttp.ClientConnectorError, **kwargs: Any
    ) -> Any:
        timeout: aiohttp.ClientTimeout | None = kwargs.pop("timeout", None)
        seconds = timeout.sock_connect if timeout is not None else None
        connect: Any = asyncio.get_running_loop().create_connection
        failure: OSError = OSError("no address")
        for *_, address in addr_infos:
            try:
                async with asyncio.timeout(seconds):
                    made = await connect(*args, host=address[0], port=address[1], **kwargs)
                if self._lost_after is not None:
                    _watch_over(made[0].get_extra_info("socket"), self._lost_after)
                return made
            except TimeoutError as error:
                failure = OSError(f"no connection to {address[0]}:{address[1]} in time")
                failure.__cause__ = error
            except ssl.CertificateError as error:
                raise aiohttp.ClientConnectorCertificateError(req.connection_key, error) from error
            except ssl.SSLError as error:
                raise aiohttp.ClientConnectorSSLError(req.connection_key, error) from error
            except OSError as error:
                failure = error
        raise client_error(req.connection_key, failure) from failure


def session(connector: Connector, **options: Any) -> aiohttp.ClientSession:
    """A session that sends everything once.

    The library would send PUT and DELETE again where a connection that was used before breaks; a write that compares
    would then meet itself and be called a conflict.
    """
    made = aiohttp.ClientSession(connector=connector, **options)
    made._retry_connection = False
    return made


def _watch_over(connection: socket.socket, seconds: float) -> None:
    options = {
        socket.TCP_USER_TIMEOUT: int(seconds * 1000), socket.TCP_KEEPIDLE: max(1, int(seconds)),
        socket.TCP_KEEPINTVL: max(1, int(seconds / 3)),
    }  # fmt: skip
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in options.items():
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
