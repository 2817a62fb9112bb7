"""What the HTTPS transport does when a connection ends in the middle, with servers of a few lines."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tiphys.client.http import Https
from tiphys.client.transport import Unreachable

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"


class Dropping:
    """Answers requests, but ends the connection at some of them; `asked` are all methods that it was asked by."""

    def __init__(self, *dropped: int) -> None:
        self.asked: list[str] = []
        self._dropped, self.url = dropped, ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        async with await asyncio.start_server(self._serve, "127.0.0.1") as server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self.url

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
                await reader.readexactly(size)
                self.asked.append(head.split()[0].decode())
                if len(self.asked) in self._dropped:
                    return
                writer.write(_ANSWER)
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()


@asynccontextmanager
async def client(*urls: str) -> AsyncIterator[Https]:
    https = Https(urls, ssl.create_default_context(), agent="test")
    try:
        yield https
    finally:
        await https.close()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "PATCH"])
async def test_a_write_is_sent_once_though_its_answer_is_lost(method: str) -> None:
    server = Dropping(2)
    async with server.running() as url, client(url) as https:
        await https.send("GET", "/")
        with pytest.raises(Unreachable):
            await https.send(method, "/", body=b"{}")
    assert server.asked == ["GET", method]


async def test_a_read_is_asked_again_where_a_connection_had_been_closed_meanwhile() -> None:
    server = Dropping(2)
    async with server.running() as url, client(url) as https:
        await https.send("GET", "/")
        assert await https.send("GET", "/") == b"{}"
    assert server.asked == ["GET"] * 3


async def test_a_read_goes_to_another_server_where_one_ends_every_connection() -> None:
    bad, good = Dropping(*range(1, 10)), Dropping()
    async with bad.running() as first, good.running() as second, client(first, second) as https:
        assert await https.send("GET", "/") == b"{}"
        assert https.server == second
    assert good.asked == ["GET"]
