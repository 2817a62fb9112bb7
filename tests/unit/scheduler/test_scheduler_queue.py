"""The scheduling queue on a clock that stands still: order, reasons to try again, back-off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from scheduler_objects import info

from tiphys.base.clock import VirtualClock, settle
from tiphys.client.timers import Timers
from tiphys.scheduler.queue import SchedulingQueue

GROWN, SHRUNK = "grown", "shrunk"


class Queued:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.timers = Timers(self.clock)
        self.queue = SchedulingQueue(self.clock, self.timers)

    async def ready(self) -> list[str]:
        """The names of all that is to be tried now, in order."""
        await self.clock.advance(0)
        found = []
        while True:
            task = asyncio.ensure_future(self.queue.pop())
            await settle()
            if not task.done():
                task.cancel()
                return found
            found.append(task.result().pod.metadata.name)


@pytest.fixture
async def queued() -> AsyncIterator[Queued]:
    made = Queued()
    task = asyncio.ensure_future(made.timers.run())
    yield made
    task.cancel()


async def test_highest_priority_first_then_first_come(queued: Queued) -> None:
    for name, priority in (("a", 0), ("b", 10), ("c", 0), ("d", 10), ("e", -5)):
        queued.queue.add(info(name, priority=priority))
    assert await queued.ready() == ["b", "d", "a", "c", "e"]
    assert len(queued.queue) == 0


async def test_a_new_state_takes_the_old_ones_place(queued: Queued) -> None:
    queued.queue.add(info("a"))
    queued.queue.add(info("b"))
    queued.queue.add(info("a", cpu="1"))
    assert (await queued.queue.pop()).requests["cpu"] == 1000
    assert await queued.ready() == ["b"]


async def test_what_is_removed_is_not_tried(queued: Queued) -> None:
    queued.queue.add(info("a"))
    queued.queue.waits(info("b"), frozenset({GROWN}))
    queued.queue.remove("default/a")
    queued.queue.remove("default/b")
    queued.queue.happened(GROWN)
    await queued.clock.advance(1000)
    assert await queued.ready() == []


async def test_a_pod_made_anew_has_its_own_priority(queued: Queued) -> None:
    queued.queue.add(info("a", priority=100))
    queued.queue.remove("default/a")
    queued.queue.add(info("b", priority=50))
    queued.queue.add(info("a", priority=0))
    assert await queued.ready() == ["b", "a"]


async def test_only_the_events_that_it_waits_for_bring_a_pod_back(queued: Queued) -> None:
    queued.queue.waits(info("a"), frozenset({GROWN}))
    queued.queue.happened(SHRUNK)
    await queued.clock.advance(20)
    assert await queued.ready() == []
    queued.queue.happened(GROWN)
    assert await queued.ready() == ["a"]


async def test_the_back_off_counts_from_the_attempt(queued: Queued) -> None:
    """An event soon after the attempt waits for its end, a later one does not wait at all."""
    queued.queue.waits(info("a"), frozenset({GROWN}))
    queued.queue.happened(GROWN)
    await queued.clock.advance(0.5)
    assert await queued.ready() == []
    await queued.clock.advance(0.7)
    assert await queued.ready() == ["a"]


async def test_the_back_off_doubles_to_ten_seconds(queued: Queued) -> None:
    made = info("a")
    for least in (1, 2, 4, 8, 10, 10):
        queued.queue.waits(made, frozenset({GROWN}))
        queued.queue.happened(GROWN)
        await queued.clock.advance(least - 0.01)
        assert await queued.ready() == []
        await queued.clock.advance(least * 0.11)
        assert await queued.ready() == ["a"]


async def test_success_ends_the_back_off(queued: Queued) -> None:
    for _ in range(4):
        queued.queue.waits(info("a"), frozenset({GROWN}))
    queued.queue.remove("default/a")
    queued.queue.waits(info("a"), frozenset({GROWN}))
    queued.queue.happened(GROWN)
    await queued.clock.advance(1.2)
    assert await queued.ready() == ["a"]


async def test_after_five_minutes_it_is_tried_anyway(queued: Queued) -> None:
    queued.queue.waits(info("a"), frozenset({GROWN}))
    await queued.clock.advance(299)
    assert await queued.ready() == []
    await queued.clock.advance(2)
    assert await queued.ready() == ["a"]


async def test_a_failed_attempt_is_repeated_without_any_event(queued: Queued) -> None:
    queued.queue.back_off(info("a"))
    queued.queue.happened(GROWN)
    await queued.clock.advance(0.9)
    assert await queued.ready() == []
    await queued.clock.advance(0.3)
    assert await queued.ready() == ["a"]


async def test_a_change_of_the_pod_brings_it_back_at_once(queued: Queued) -> None:
    queued.queue.waits(info("a"), frozenset({GROWN}))
    queued.queue.add(info("a", cpu="1"))
    assert await queued.ready() == ["a"]
    await queued.clock.advance(1000)
    assert await queued.ready() == []


async def test_whoever_waits_for_a_pod_gets_the_next(queued: Queued) -> None:
    task = asyncio.ensure_future(queued.queue.pop())
    await settle()
    queued.queue.add(info("a"))
    assert (await task).key == "default/a"
