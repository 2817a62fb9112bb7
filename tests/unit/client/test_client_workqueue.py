"""The work queue's three rules, and the timers below it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tiphys.base.backoff import Backoff
from tiphys.base.clock import VirtualClock, settle
from tiphys.client.timers import Timers
from tiphys.client.workqueue import WorkQueue


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def timers(clock: VirtualClock) -> AsyncIterator[Timers]:
    timers = Timers(clock)
    task = asyncio.create_task(timers.run())
    yield timers
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_key_waits_once(timers: Timers) -> None:
    queue = WorkQueue(timers)
    for key in ("a", "b", "a"):
        queue.add(key)
    assert [await queue.get(), await queue.get(), len(queue)] == ["a", "b", 0]


async def test_a_key_in_work_comes_again_when_done(timers: Timers) -> None:
    queue = WorkQueue(timers)
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_a_cancelled_taker_loses_no_key(timers: Timers) -> None:
    queue = WorkQueue(timers)
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await settle()
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 5) == "a"


async def test_the_earliest_delay_counts(timers: Timers, clock: VirtualClock) -> None:
    queue = WorkQueue(timers)
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 20)
    await clock.advance(4)
    assert len(queue) == 0
    await clock.advance(1)
    assert len(queue) == 1
    await queue.get()
    queue.done("a")
    await clock.advance(30)
    assert len(queue) == 0


async def test_queues_that_share_timers_do_not_share_keys(timers: Timers, clock: VirtualClock) -> None:
    one, other = WorkQueue(timers), WorkQueue(timers)
    one.add_after("a", 5)
    other.add_after("a", 10)
    await clock.advance(20)
    assert (len(one), len(other)) == (1, 1)


async def test_failures_grow_the_delay_until_forgotten(timers: Timers) -> None:
    queue = WorkQueue(timers, Backoff(1, 100, jitter=0))
    assert [queue.retry("a"), queue.retry("a"), queue.retry("a")] == [1, 2, 4]
    queue.forget("a")
    assert queue.retry("a") == 1


async def test_a_cancelled_timer_does_not_fire(timers: Timers, clock: VirtualClock) -> None:
    fired: list[str] = []
    timers.call_after(5, "a", lambda: fired.append("a"))
    timers.call_after(6, "b", lambda: fired.append("b"))
    timers.cancel("a")
    await clock.advance(10)
    assert fired == ["b"]


async def test_a_key_that_rests_is_queued_again_only_afterwards() -> None:
    queue = WorkQueue(Timers(VirtualClock()))
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    queue.done(key, rest=0.01)
    queue.add("a")
    assert len(queue) == 0
    async with asyncio.timeout(5):
        assert await queue.get() == "a"
