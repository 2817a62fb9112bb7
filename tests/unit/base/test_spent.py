"""How long work holds the loop, through everything that a coroutine can do."""

from __future__ import annotations

import asyncio
import time

import pytest

from tiphys.base.tasks import Spent


def busy(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


async def test_work_counts_and_waiting_does_not() -> None:
    async def work() -> str:
        busy(0.02)
        await asyncio.sleep(0.2)
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
        return "done"

    spent = Spent()
    assert await spent.by(work()) == "done"
    assert spent.seconds >= 0.02


async def test_errors_and_time_limits_go_through() -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    async def waits() -> str:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            return "in time"
        return ""

    with pytest.raises(KeyError):
        await Spent().by(fails())
    assert await Spent().by(waits()) == "in time"


async def test_cancellation_reaches_the_work() -> None:
    seen = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ended")

    task = asyncio.ensure_future(Spent().by(work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["ended"]
