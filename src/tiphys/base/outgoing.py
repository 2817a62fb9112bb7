"""HTTP connections to others, made by the event loop itself.

aiohttp connects a socket of Python's own and hands it to the loop. Under uvloop, a connection that was refused that
way now and then takes another one with it, just accepted under the same number: a client sees its connection end.
Connecting through the loop knows one owner of each socket only.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import aiohttp


class Connector(aiohttp.TCPConnector):
    """A TCPConnector that tries the addresses of a host one after the other."""

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
                    return await connect(*args, host=address[0], port=address[1], **kwargs)
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
