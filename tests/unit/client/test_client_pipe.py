"""Two ends of a pipe in one process: asking, streaming, breaking off."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tiphys.api.http import Handler, Request, Response, User
from tiphys.client.pipe import Pipe
from tiphys.client.transport import Unreachable


async def nothing(request: Request) -> Response:
    return Response(404)


@asynccontextmanager
async def ends(handler: Handler) -> AsyncIterator[tuple[Pipe, Pipe]]:
    """The asking end, and the one that answers."""
    loop = asyncio.get_running_loop()
    one, other = socket.socketpair()
    _, asking = await loop.create_connection(lambda: Pipe(nothing), sock=one)
    _, answering = await loop.create_connection(lambda: Pipe(handler), sock=other)
    try:
        yield asking, answering
    finally:
        await asking.close()
        await answering.close()


async def test_a_request_arrives_as_it_was_and_so_does_its_answer() -> None:
    async def handler(request: Request) -> Response:
        assert request.user is not None
        words = [request.method, request.path, request.param("q"), request.headers["accept"], request.user.name]
        return Response(201, " ".join([*words, *request.user.groups]).encode() + request.body)

    async with ends(handler) as (asking, _):
        user = User("u", groups=("g", "h"))
        big = b"x" * 300_000
        asked = [Request("POST", f"/{number}", {"q": ["1"]}, {"accept": "json"}, big, user) for number in range(20)]
        answers = await asyncio.gather(*map(asking.ask, asked))
        assert [answer.body for answer in answers] == [b"POST /%d 1 json u g h" % n + big for n in range(20)]
        assert {answer.status for answer in answers} == {201}


async def test_either_side_may_ask() -> None:
    async with ends(nothing) as (asking, answering):
        assert (await asking.ask(Request("GET", "/"))).status == 404
        assert (await answering.ask(Request("GET", "/"))).status == 404


async def test_a_stream_goes_on_until_it_is_left_and_waits_for_its_reader() -> None:
    sent, closed = [], asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        try:
            for number in range(1000):
                sent.append(number)
                yield b"%d\n" % number
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def handler(request: Request) -> Response:
        return Response(200, stream=lines())

    async with ends(handler) as (asking, _):
        answer = await asking.ask(Request("GET", "/"))
        assert answer.stream is not None
        found = []
        async for chunk in answer.stream:
            found.append(chunk)
            assert len(sent) <= len(found) + 1
            if len(found) == 50:
                break
        await answer.stream.aclose()  # type: ignore[attr-defined]
        async with asyncio.timeout(5):
            await closed.wait()
        assert found == [b"%d\n" % number for number in range(50)]


async def test_whoever_stops_waiting_stops_the_work() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> Response:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Response()

    async with ends(handler) as (asking, _):
        task = asyncio.create_task(asking.ask(Request("GET", "/")))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            await ended.wait()


async def test_the_end_of_the_other_side_is_told_to_all_who_wait() -> None:
    async def forever() -> AsyncIterator[bytes]:
        yield b"first\n"
        await asyncio.Event().wait()

    async def handler(request: Request) -> Response:
        if request.path == "/watch":
            return Response(200, stream=forever())
        await asyncio.Event().wait()
        return Response()

    async with ends(handler) as (asking, answering):
        answer = await asking.ask(Request("GET", "/watch"))
        assert answer.stream is not None
        assert await anext(answer.stream) == b"first\n"
        waiting = asyncio.create_task(asking.ask(Request("GET", "/")))
        await asyncio.sleep(0)
        await answering.close()
        with pytest.raises(Unreachable):
            await waiting
        with pytest.raises(Unreachable):
            await anext(answer.stream)
        with pytest.raises(Unreachable):
            await asking.ask(Request("GET", "/"))
        assert asking.closed.is_set()
