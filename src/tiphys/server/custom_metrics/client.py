"""Asks pods for their metrics over HTTP. A certificate proves nothing here: pods are known by their addresses."""

from __future__ import annotations

import asyncio

import aiohttp

from tiphys.base.log import Log
from tiphys.base.outgoing import Connector

_log = Log("scrape")
_PATIENCE = aiohttp.ClientTimeout(total=3)
_LARGEST = 8 << 20
_ACCEPT = "text/plain;version=0.0.4"


class PodClient:
    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, url: str) -> str | None:
        """What a URL says, or None where nothing does, or too much."""
        try:
            async with self._opened().get(url, timeout=_PATIENCE, headers={"accept": _ACCEPT}) as answer:
                body = await answer.content.read(_LARGEST + 1) if answer.status == 200 else b""
                while len(body) <= _LARGEST and not answer.content.at_eof():
                    body += await answer.content.read(_LARGEST + 1 - len(body))
        except (aiohttp.ClientError, ValueError, TimeoutError, OSError) as error:
            _log.debug("not scraped", url=url, error=str(error))
            return None
        if answer.status != 200 or len(body) > _LARGEST:
            return None
        return body.decode(errors="replace")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=Connector(ssl=False))
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            # The transports of a session are closed on the loop's next turn.
            await asyncio.sleep(0)
