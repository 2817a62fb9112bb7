"""Certificates renew themselves in time, where the CA's key is by signing, elsewhere by asking; on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tiphys.base.clock import VirtualClock
from tiphys.client.transport import Unreachable
from tiphys.main.leaf import Issuer, Key, Leaf, leaf_of, made_by, make_ca, make_leaf, new_key, pem, renewal_time
from tiphys.main.pki import Pki
from tiphys.main.renewal import Renewal
from tiphys.node.file_changes import FileChanges

START = 1_700_000_000.0
DAY = 86400.0
NODE = Leaf("system:node:a", ["system:nodes"])
SERVING = Leaf("system:node:a", ["system:nodes"], ["a", "192.0.2.1"])


class Told:
    """What tells of changed files, by hand."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    async def wait(self) -> None:
        await self.event.wait()
        self.event.clear()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    """A machine with a CA, made at the virtual time."""
    made = Pki(tmp_path / "pki")
    made.directory.mkdir()
    key = new_key()
    made.key("ca").write_bytes(pem(key))
    made.ca.write_bytes(pem(make_ca("ca", key, START)))
    for name, leaf in {"admin": Leaf("root", ["masters"]), "server": Leaf("api", names=["localhost"])}.items():
        made.issue(name, leaf, made.issuers()["ca"], START)
    return made


@pytest.fixture
def worker(tmp_path: Path, pki: Pki) -> Pki:
    """A node elsewhere: it has certificates of the same CA, but not its key."""
    made = Pki(tmp_path / "worker")
    made.directory.mkdir()
    made.ca.write_bytes(pki.ca.read_bytes())
    for name, leaf in {"agent": NODE, "kubelet": SERVING}.items():
        made.issue(name, leaf, pki.issuers()["ca"], START)
    return made


async def eventually(check: Callable[[], Any], clock: VirtualClock, step: float = 0.0) -> None:
    """Until `check` holds, while virtual time moves in steps and what runs in threads gets its turn."""
    async with asyncio.timeout(20):
        while not check():
            await clock.advance(step)
            await asyncio.sleep(0.005)


async def running(renewal: Renewal, told: Told, work: Callable[[], Awaitable[None]]) -> None:
    task = asyncio.ensure_future(renewal.follow(told))
    try:
        await work()
        assert not task.done() or task.result() is None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_certificates_are_renewed_two_thirds_into_their_life_and_not_before(
    pki: Pki, clock: VirtualClock
) -> None:
    first = pki.read("server")
    changes = 0

    async def changed() -> None:
        nonlocal changes
        changes += 1

    renewal = Renewal(pki, clock, signs=True, changed=changed)
    assert await renewal.look() <= 6 * 3600
    assert pki.read("server") == first
    await clock.advance(renewal_time(first) - START - 5)
    await renewal.look()
    assert pki.read("server") == first
    before = changes
    await clock.advance(10)
    await renewal.look()
    second = pki.read("server")
    assert second != first
    assert changes == before + 1
    assert leaf_of(second).same(leaf_of(first))
    assert second.public_key() == first.public_key()
    assert second.not_valid_after_utc.timestamp() == pytest.approx(clock.time() + 365 * DAY, abs=600)


async def test_left_running_for_years_nothing_ever_expires(pki: Pki, clock: VirtualClock) -> None:
    renewal, told = Renewal(pki, clock, signs=True), Told()

    def reached(moment: float) -> bool:
        return clock.time() >= moment

    async def years() -> None:
        for number in range(1, 25):
            await eventually(partial(reached, START + number * 20 * DAY), clock, DAY)
            for name in ("server", "admin"):
                assert pki.read(name).not_valid_after_utc.timestamp() > clock.time() + 30 * DAY

    await running(renewal, told, years)


async def test_a_node_asks_with_the_certificate_that_it_has(worker: Pki, pki: Pki, clock: VirtualClock) -> None:
    asked: list[Leaf] = []

    async def request(leaf: Leaf, key: Key) -> bytes:
        asked.append(leaf)
        return pem(make_leaf(leaf, key, pki.issuers()["ca"], clock.time()))

    renewal = Renewal(worker, clock, requested=("agent", "kubelet"), request=request)
    await renewal.look()
    assert asked == []
    await clock.advance(300 * DAY)
    await renewal.look()
    assert [leaf.same(wanted) for leaf, wanted in zip(asked, (NODE, SERVING), strict=True)] == [True, True]
    for name in ("agent", "kubelet"):
        assert renewal_time(worker.read(name)) > clock.time()


async def test_what_fails_is_tried_again_and_does_not_hold_up_the_rest(
    worker: Pki, pki: Pki, clock: VirtualClock
) -> None:
    up = False

    async def request(leaf: Leaf, key: Key) -> bytes:
        if leaf.names or up:
            return pem(make_leaf(leaf, key, pki.issuers()["ca"], clock.time()))
        raise Unreachable("no server answers")

    renewal = Renewal(worker, clock, requested=("agent", "kubelet"), request=request)
    await clock.advance(300 * DAY)
    first = await renewal.look()
    assert 30 <= first <= 33
    assert renewal_time(worker.read("kubelet")) > clock.time()
    assert renewal_time(worker.read("agent")) < clock.time()
    assert await renewal.look() > first
    up = True
    await renewal.look()
    assert renewal_time(worker.read("agent")) > clock.time()


async def test_when_another_ca_signs_every_certificate_is_made_anew(worker: Pki, pki: Pki, clock: VirtualClock) -> None:
    key = new_key()
    new = Issuer(make_ca("ca", key, START), key)
    renewal = Renewal(pki, clock, signs=True)
    pki.ca.write_bytes(pki.ca.read_bytes() + pem(new.certificate))
    before = pki.read("server")
    await renewal.look()
    # It is trusted only, and does not sign yet.
    assert pki.read("server") == before
    old = pki.read("ca")
    pki.key("ca").write_bytes(pem(key))
    pki.ca.write_bytes(pem(new.certificate) + pem(old))
    await renewal.look()
    assert made_by(pki.read("server"), new.certificate)

    async def request(leaf: Leaf, node_key: Key) -> bytes:
        return pem(make_leaf(leaf, node_key, new, clock.time()))

    worker.ca.write_bytes(pki.ca.read_bytes())
    await Renewal(worker, clock, requested=("agent", "kubelet"), request=request).look()
    assert made_by(worker.read("agent"), new.certificate)
    assert made_by(worker.read("kubelet"), new.certificate)


async def test_what_somebody_else_renewed_is_taken_up_at_once(pki: Pki, clock: VirtualClock) -> None:
    told, taken = Told(), asyncio.Event()

    async def changed() -> None:
        taken.set()

    renewal = Renewal(pki, clock, changed=changed)

    async def work() -> None:
        await eventually(lambda: clock._sleepers, clock)
        pki.issue("server", Leaf("api", names=["localhost", "192.0.2.2"]), pki.issuers()["ca"], START)
        told.event.set()
        await eventually(taken.is_set, clock, 0.1)

    await running(renewal, told, work)


async def test_who_may_not_sign_leaves_it_to_who_may(pki: Pki, clock: VirtualClock) -> None:
    await clock.advance(300 * DAY)
    before = pki.read("server")
    pause = await Renewal(pki, clock).look()
    assert pki.read("server") == before
    assert pause >= 3600


async def test_the_kernel_tells_of_files_that_are_replaced(tmp_path: Path) -> None:
    async with FileChanges(tmp_path) as changes:
        (tmp_path / "new").write_bytes(b"x")
        (tmp_path / "new").rename(tmp_path / "there")
        async with asyncio.timeout(20):
            await changes.wait()
    with pytest.raises(FileNotFoundError):
        async with FileChanges(tmp_path / "missing"):
            pass
