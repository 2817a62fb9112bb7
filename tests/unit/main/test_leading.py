"""The virtual address: held while time goes on, not taken back by a server that stood still until it may."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tiphys.base.clock import VirtualClock, settle
from tiphys.main import leading


class Link:
    """Stands in for the kernel's address; `times` are the moments at which it was held."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock, self.times, self.released = clock, [], False

    def hold(self, seconds: int) -> None:
        self.times.append(self.clock.monotonic())

    def announce(self) -> None: ...

    def release(self) -> None:
        self.released = True


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> Link:
    made = Link(VirtualClock())

    async def link_of(_: str) -> str:
        return "eth0"

    monkeypatch.setattr(leading, "link_of", link_of)
    monkeypatch.setattr(leading, "VirtualAddress", lambda *_: made)
    return made


async def test_it_is_held_again_before_the_kernel_takes_it(link: Link) -> None:
    task: asyncio.Task[Any] = asyncio.create_task(leading.hold_address("192.0.2.9", link.clock))
    await link.clock.advance(5.0)
    gaps = [later - earlier for earlier, later in zip(link.times, link.times[1:], strict=False)]
    assert max(gaps) < 1.0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert link.released


async def test_a_server_that_stood_still_does_not_take_it_from_the_next_one(link: Link) -> None:
    task: asyncio.Task[Any] = asyncio.create_task(leading.hold_address("192.0.2.9", link.clock))
    await link.clock.advance(1.0)
    # Stopped for eight seconds: the sleep that was under way ends late.
    link.clock._now += 8.0
    woken = link.clock.monotonic()
    held = len(link.times)
    await link.clock.advance(2.0)
    await settle()
    assert len(link.times) == held
    # Nobody told it that it does not lead any more: then it has the address again.
    await link.clock.advance(2.0)
    assert link.times[-1] > woken + 2.0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
