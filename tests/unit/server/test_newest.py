"""Who asks how far the store is gets an answer that is not older than the question, or the error; never nothing."""

from __future__ import annotations

import asyncio

import pytest

from tiphys.base.clock import settle
from tiphys.server.newest import Newest
from tiphys.store import Unavailable


class Store:
    def __init__(self) -> None:
        self.asked: list[asyncio.Future[int]] = []

    async def current(self) -> int:
        self.asked.append(asyncio.get_running_loop().create_future())
        return await self.asked[-1]


async def test_who_comes_while_a_question_is_under_way_shares_the_next_one() -> None:
    store = Store()
    newest = Newest(store.current)
    first = asyncio.create_task(newest())
    await settle()
    later = [asyncio.create_task(newest()) for _ in range(3)]
    await settle()
    assert len(store.asked) == 1
    store.asked[0].set_result(5)
    await settle()
    assert await first == 5
    assert not any(task.done() for task in later)
    store.asked[1].set_result(8)
    assert await asyncio.gather(*later) == [8, 8, 8]


@pytest.mark.parametrize("error", [Unavailable("no quorum"), RuntimeError("a defect")])
async def test_nobody_is_left_waiting_when_it_fails(error: Exception) -> None:
    store = Store()
    newest = Newest(store.current)
    asking = asyncio.create_task(newest())
    await settle()
    store.asked[0].set_exception(error)
    with pytest.raises(type(error)):
        await asking
    again = asyncio.create_task(newest())
    await settle()
    store.asked[1].set_result(9)
    assert await again == 9
