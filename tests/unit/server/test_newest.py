"""One question at a time, and nobody is given an answer that is older than they are."""

from __future__ import annotations

import asyncio

import pytest

from tiphys.server.newest import Newest
from tiphys.store import Unavailable


async def test_who_comes_while_a_question_is_under_way_shares_the_next():
    asked, answers = [], [asyncio.Event() for _ in range(3)]

    async def ask() -> int:
        number = len(asked)
        asked.append(number)
        await answers[number].wait()
        return number

    newest = Newest(ask)
    first = asyncio.create_task(newest())
    await asyncio.sleep(0)
    others = [asyncio.create_task(newest()) for _ in range(50)]
    await asyncio.sleep(0)
    for answer in answers:
        answer.set()
    assert await first == 0
    assert set(await asyncio.gather(*others)) == {1}
    assert await newest() == 2


async def test_a_failure_reaches_all_who_asked_and_nobody_after():
    failing = [True]

    async def ask() -> int:
        if failing.pop() if failing else False:
            raise Unavailable("gone")
        return 7

    newest = Newest(ask)
    with pytest.raises(Unavailable):
        await newest()
    assert await newest() == 7
