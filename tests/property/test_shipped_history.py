"""A history that is shipped through crashes, takeovers, torn files and compaction, against what there really was."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tiphys.base.clock import VirtualClock
from tiphys.main.backup import catalog, history
from tiphys.main.backup.archive import Head, Writer
from tiphys.main.backup.destination import Directory
from tiphys.main.backup.history import NotKept, Point
from tiphys.main.backup.segment import SegmentHead
from tiphys.main.backup.shipper import Policy, Shipper
from tiphys.main.backup.source import records_of
from tiphys.store.memory import MemoryStore

LEASE = "/registry/coordination.k8s.io/leases/kube-node-lease/n"
KEYS = st.sampled_from(["/a", "/b", "/b/c", LEASE])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS),
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.sampled_from(["wait", "begin", "crash", "tear", "compact", "day"]), st.just("")),
    ),
    min_size=10,
    max_size=60,
)


class World:
    """A store, the states that it has had, and the servers that ship it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store, self.clock = MemoryStore(), VirtualClock()
        self.states: dict[int, dict[str, bytes]] = {1: {}}
        self.running: list[tuple[Shipper, asyncio.Task[None]]] = []

    async def step(self, what: str, key: str) -> None:
        if what == "put":
            await self.store.put(key, b"%d" % self.store.revision)
        elif what == "delete" and await self.store.get(key):
            await self.store.delete(key)
        elif what == "wait":
            await self.settle()
        elif what == "begin" and len(self.running) < 2:
            self.begin()
        elif what == "crash" and self.running:
            await self.crash()
        elif what == "tear" and not self.running:
            self.tear()
        elif what == "compact":
            await self.store.compact(self.store.revision)
        elif what == "day":
            await self.clock.advance(30_000)
        await self.note()

    async def note(self) -> None:
        page = await self.store.list("/")
        self.states[page.revision] = {record.key: record.value for record in page.records}

    def begin(self) -> None:
        async def write_base(path: Path) -> Head:
            revision, pages = await records_of(self.store)
            head = Head("harbour", "uid", self.clock.time(), revision, "memory", "0.1")
            writer = Writer(path, head, None)
            async for page in pages:
                writer.records(page)
            writer.finish()
            return head

        shipper = Shipper(
            self.store, Directory(self.directory / "place"), SegmentHead("harbour", "uid"), write_base, self.clock,
            policy=Policy(keep=1e9), scratch=self.directory,
        )  # fmt: skip
        self.running.append((shipper, asyncio.create_task(shipper.run())))

    async def crash(self) -> None:
        _, task = self.running.pop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def tear(self) -> None:
        """The end of the last file is lost, as when the machine dies before its disk has it."""
        logs = sorted((self.directory / "place").rglob("log-*"))
        if logs:
            logs[-1].write_bytes(logs[-1].read_bytes()[:-3])

    async def settle(self) -> None:
        """Until all is shipped but renewals, which wait for another change."""
        await self.store.put("/end", b"%d" % self.store.revision)
        await self.note()
        async with asyncio.timeout(30):
            while any(shipper.shipped < self.store.revision for shipper, _ in self.running):
                await self.clock.advance(0.5)
                await asyncio.sleep(0)


def without_lease(state: dict[str, bytes]) -> dict[str, bytes]:
    return {key: value for key, value in state.items() if key != LEASE}


async def play(steps: list[tuple[str, str]], directory: Path) -> None:
    world = World(directory)
    for what, key in steps:
        await world.step(what, key)
    if not world.running:
        world.begin()
    await world.settle()
    while world.running:
        await world.crash()
    place = Directory(directory / "place")
    found = {revision: await _read(place, revision, directory) for revision in world.states}
    assert found[world.store.revision] == world.states[world.store.revision]
    for revision, state in found.items():
        if state is not None:
            assert without_lease(state) == without_lease(world.states[revision])
    # From each base on, nothing is missing up to where it was shipped.
    for generation in await catalog.generations(place):
        for base in generation.bases:
            assert found.get(base.revision, {}) is not None


async def _read(place: Directory, revision: int, directory: Path) -> dict[str, bytes] | None:
    try:
        past = await history.read(place, Point(revision=revision), directory)
    except NotKept:
        return None
    return {record.key: record.value for batch in past.records() for record in batch}


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_what_can_be_read_is_what_there_was(steps: list[tuple[str, str]]):
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(play(steps, Path(directory)))
