"""What is shipped can be read again: at any moment, by any reader, across crashes, takeovers and compaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path

import pytest
from backup_parts import FILES

from tiphys.base.clock import VirtualClock, settle
from tiphys.main.backup import catalog, history
from tiphys.main.backup.archive import Head, Writer
from tiphys.main.backup.destination import Directory
from tiphys.main.backup.history import Point
from tiphys.main.backup.seal import Altered, BackupError, Passphrase, WrongPassphrase
from tiphys.main.backup.segment import SegmentHead
from tiphys.main.backup.shipper import Policy, Shipper
from tiphys.main.backup.source import records_of
from tiphys.store import Store
from tiphys.store.memory import MemoryStore

LEASE = "/registry/coordination.k8s.io/leases/kube-node-lease/n"


class Ship:
    """A store, a destination, and servers that ship from one to the other."""

    def __init__(self, directory: Path) -> None:
        self.store: Store = MemoryStore()
        self.destination = Directory(directory / "backup")
        self.clock = VirtualClock()
        self.scratch = directory
        self.opened: list[Directory] = []

    def shipper(self, uid: str = "uid-1", **options: object) -> Shipper:
        async def write_base(path: Path) -> Head:
            revision, pages = await records_of(self.store)
            head = Head("harbour", uid, self.clock.time(), revision, "memory", "0.1")
            writer = Writer(path, head, options.get("passphrase"))  # type: ignore[arg-type]
            for name, data in FILES.items():
                writer.file(name, data)
            async for page in pages:
                writer.records(page)
            writer.finish()
            return head

        destination = Directory(self.destination.path)
        self.opened.append(destination)
        return Shipper(
            self.store, destination, SegmentHead("harbour", uid), write_base, self.clock,
            scratch=self.scratch, **options,  # type: ignore[arg-type]
        )  # fmt: skip

    @asynccontextmanager
    async def shipping(self, **options: object) -> AsyncIterator[Shipper]:
        shipper = self.shipper(**options)
        task = asyncio.create_task(shipper.run())
        await self.reached(shipper)
        try:
            yield shipper
        finally:
            if task.done():
                await task
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for destination in self.opened:
                await destination.close()

    async def reached(self, shipper: Shipper) -> None:
        """Wait until all that was written is shipped, in as many intervals as it takes."""
        async with asyncio.timeout(20):
            while shipper.shipped < self.store.revision:
                await self.clock.advance(0.5)
                await asyncio.sleep(0.001)
        await settle()

    async def read(self, point: Point | None = None, passphrase: Passphrase | None = None) -> dict[str, bytes]:
        past = await history.read(self.destination, point or Point(), self.scratch, passphrase)
        manifest = past.verify()
        found = {record.key: record.value for record in chain.from_iterable(past.records())}
        assert manifest.records == len(found)
        assert list(found) == sorted(found)
        return found

    async def state(self) -> dict[str, bytes]:
        return {record.key: record.value for record in (await self.store.list("/")).records}


@pytest.fixture
def ship(tmp_path: Path) -> Ship:
    return Ship(tmp_path)


async def test_every_revision_and_every_moment_can_be_read(ship: Ship):
    await ship.store.put("/a", b"before")
    states: list[tuple[int, float, dict[str, bytes]]] = []
    async with ship.shipping() as shipper:
        for n in range(40):
            key = f"/{'dbaec'[n % 5]}"
            if n % 7 == 6:
                await ship.store.delete(key)
            else:
                await ship.store.put(key, b"%d" % n)
            await ship.reached(shipper)
            states.append((ship.store.revision, ship.clock.time(), await ship.state()))
            await ship.clock.advance(1)
    for revision, when, state in states:
        assert await ship.read(Point(revision=revision)) == state
        assert await ship.read(Point(time=when)) == state
    assert await ship.read() == states[-1][2]


async def test_what_comes_within_an_interval_is_one_flush(ship: Ship):
    async with ship.shipping() as shipper:
        await ship.store.put("/a", b"0")
        await settle()
        for n in range(100):
            await ship.store.put("/a", b"%d" % n)
        await ship.reached(shipper)
        (generation,) = await catalog.generations(ship.destination)
        frames = await history.log_frames(ship.destination, generation.logs[0].name, None)
        assert len(frames) == 2
        assert await ship.read() == {"/a": b"99"}


async def test_renewed_leases_cause_no_flush_and_are_not_lost(ship: Ship):
    await ship.store.put(LEASE, b"0")
    async with ship.shipping() as shipper:
        for n in range(50):
            await ship.store.put(LEASE, b"%d" % n)
            await ship.clock.advance(10)
        assert (await catalog.generations(ship.destination))[0].logs == []
        await ship.store.put("/a", b"1")
        await ship.reached(shipper)
        assert await ship.read() == {"/a": b"1", LEASE: b"49"}
        await ship.store.delete(LEASE)
        await ship.reached(shipper)
        assert await ship.read() == {"/a": b"1"}


async def test_it_goes_on_where_it_was_after_a_crash_that_tore_the_last_frame(ship: Ship):
    async with ship.shipping() as shipper:
        await ship.store.put("/a", b"1")
        await ship.reached(shipper)
        await ship.store.put("/b", b"1")
        await ship.reached(shipper)
    log = ship.destination.path / (await catalog.generations(ship.destination))[0].logs[0].name
    whole = log.read_bytes()
    log.write_bytes(whole[:-5])
    assert await ship.read() == {"/a": b"1"}
    await ship.store.put("/c", b"1")
    async with ship.shipping() as shipper:
        await ship.store.put("/d", b"1")
        await ship.reached(shipper)
    (generation,) = await catalog.generations(ship.destination)
    assert (len(generation.bases), len(generation.logs)) == (1, 2)
    assert await ship.read() == {"/a": b"1", "/b": b"1", "/c": b"1", "/d": b"1"}


async def test_two_at_once_do_not_spoil_it(ship: Ship):
    async with ship.shipping() as one:
        await ship.store.put("/a", b"1")
        await ship.reached(one)
        async with ship.shipping() as two:
            for n in range(20):
                await ship.store.put("/a", b"%d" % n)
                await ship.store.put(f"/n{n}", b"x")
                await ship.reached(one)
                await ship.reached(two)
    state = await ship.state()
    assert await ship.read() == state
    assert len(state) == 21
    found = [change async for change in history.changes(ship.destination, lambda key: key == "/a", ship.scratch)]
    assert [change.value for change in found] == [b"1", *(b"%d" % n for n in range(20))]


async def test_a_new_base_bridges_what_the_store_has_forgotten(ship: Ship):
    async with ship.shipping() as shipper:
        await ship.store.put("/a", b"1")
        await ship.reached(shipper)
    last = ship.store.revision
    await ship.clock.advance(100)
    await ship.store.put("/a", b"unseen")
    await ship.store.put("/a", b"2")
    await ship.store.put("/b", b"1")
    await ship.store.compact(ship.store.revision)
    async with ship.shipping() as shipper:
        await ship.store.put("/c", b"1")
        await ship.reached(shipper)
    assert await ship.read() == {"/a": b"2", "/b": b"1", "/c": b"1"}
    assert await ship.read(Point(revision=last)) == {"/a": b"1"}
    with pytest.raises(BackupError, match="nothing between"):
        await ship.read(Point(revision=last + 1))
    found = [change async for change in history.changes(ship.destination, lambda key: key == "/a", ship.scratch)]
    assert [change.value for change in found] == [b"1", b"2"]


async def test_a_store_that_is_behind_its_history_begins_another(ship: Ship):
    async with ship.shipping() as shipper:
        for n in range(20):
            await ship.store.put("/a", b"%d" % n)
        await ship.reached(shipper)
    ship.store = MemoryStore()
    await ship.store.put("/b", b"other")
    await ship.clock.advance(100)
    async with ship.shipping() as shipper:
        await ship.store.put("/c", b"other")
        await ship.reached(shipper)
    assert [generation.number for generation in await catalog.generations(ship.destination)] == [1, 2]
    assert await ship.read() == {"/b": b"other", "/c": b"other"}


async def test_the_history_of_another_cluster_is_left_alone(ship: Ship):
    async with ship.shipping() as shipper:
        await ship.store.put("/a", b"1")
        await ship.reached(shipper)
    said: list[str] = []
    task = asyncio.create_task(ship.shipper(uid="uid-2", report=said.append).run())
    async with asyncio.timeout(20):
        while not said:
            await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert "another cluster ('harbour', UID uid-1)" in said[0]
    assert "backup configure harbour --to DEST" in said[0]
    assert await ship.read() == {"/a": b"1"}


async def test_it_says_when_the_destination_fails_and_goes_on_once_it_is_back(ship: Ship):
    said: list[str] = []
    async with ship.shipping(report=said.append) as shipper:
        await ship.store.put("/a", b"1")
        await ship.reached(shipper)
        whole = ship.destination.path.rename(ship.scratch / "away")
        ship.destination.path.write_bytes(b"no directory")
        for destination in ship.opened:
            await destination.settle("")
        await ship.store.put("/b", b"1")
        async with asyncio.timeout(20):
            while not said:
                await ship.clock.advance(0.5)
                await asyncio.sleep(0.001)
        assert str(ship.destination.path) in said[0]
        ship.destination.path.unlink()
        whole.rename(ship.destination.path)
        await ship.reached(shipper)
        assert said[-1] == ""
    assert await ship.read() == {"/a": b"1", "/b": b"1"}


async def test_bases_are_renewed_and_old_ones_go(ship: Ship):
    policy = Policy(base_every=3600, keep=7200)
    async with ship.shipping(policy=policy) as shipper:
        for n in range(12):
            await ship.store.put("/a", b"%d" % n)
            await ship.reached(shipper)
            await ship.clock.advance(1800)
        await asyncio.sleep(0.05)
        (generation,) = await catalog.generations(ship.destination)
        assert 3 <= len(generation.bases) <= 4
        assert generation.bases[0].time <= generation.bases[-1].time - 7200 <= generation.bases[1].time
        assert generation.logs[0].after < generation.bases[1].revision
        assert await ship.read() == {"/a": b"11"}
        with pytest.raises(BackupError, match="begins at revision"):
            await ship.read(Point(revision=3))


async def test_a_passphrase_seals_all_of_it(ship: Ship):
    secret = Passphrase(b"by the steering oar")
    async with ship.shipping(passphrase=secret) as shipper:
        await ship.store.put("/a", b"plainly visible")
        await ship.reached(shipper)
    files = [path for path in ship.destination.path.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert all(b"plainly visible" not in path.read_bytes() for path in files)
    assert await ship.read(passphrase=secret) == {"/a": b"plainly visible"}
    # As another process would, which knows the words only.
    assert await ship.read(passphrase=Passphrase(b"by the steering oar")) == {"/a": b"plainly visible"}
    for wrong in (None, Passphrase(b"another")):
        with pytest.raises(WrongPassphrase):
            await ship.read(passphrase=wrong)


async def test_alterations_and_gaps_are_noticed(ship: Ship):
    async with ship.shipping() as shipper:
        for n in range(3):
            await ship.store.put("/a", b"%d" % n * 100)
            await ship.reached(shipper)
    log = ship.destination.path / (await catalog.generations(ship.destination))[0].logs[0].name
    whole = log.read_bytes()
    log.write_bytes(whole[:150] + bytes([whole[150] ^ 1]) + whole[151:])
    with pytest.raises(Altered):
        await ship.read()
    log.write_bytes(whole)
    async with ship.shipping() as shipper:
        await ship.store.put("/b", b"1")
        await ship.reached(shipper)
    log.unlink()
    with pytest.raises(Altered, match="lacks what came between"):
        await ship.read()


async def test_an_empty_place_says_so(ship: Ship):
    with pytest.raises(BackupError, match="nothing was shipped there yet"):
        await ship.read()


def test_retention_keeps_what_leads_back_far_enough():
    def base(revision: int, time: float) -> catalog.Base:
        return catalog.Base(f"b{revision}", 10, revision, time)

    def log(after: int) -> catalog.Log:
        return catalog.Log(f"l{after}", 5, after)

    one = catalog.Generation(1, [base(10, 100), base(20, 200), base(30, 300)], [log(10), log(15), log(20), log(31)])
    forget: Callable[..., list[str]] = catalog.superfluous
    assert forget([one], 310, 1000, 0) == []
    assert forget([one], 310, 50, 0) == ["b10", "l10", "l15"]
    assert forget([one], 1000, 50, 0) == ["b10", "b20", "l10", "l15"]
    assert forget([one], 310, 1000, 35) == ["b10", "l10", "l15"]
    assert forget([one], 310, 1000, 1) == ["b10", "b20", "l10", "l15"]
    two = catalog.Generation(2, [base(5, 400)], [log(5)])
    assert forget([one, two], 1000, 50, 0) == ["b10", "b20", "b30", "l10", "l15", "l20", "l31"]
