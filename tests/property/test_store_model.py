"""Every driver against a model: a dict, and the list of all that ever happened to it."""

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tiphys.store import ABSENT, ANY, Compacted, Conflict, Event, Record, Store
from tiphys.store.memory import MemoryStore
from tiphys.store.sqlite import SqliteStore

KEYS = st.sampled_from(["/p/a", "/p/b", "/p/b/c", "/p/\u00e9", "/q/a"])
VALUES = st.one_of(st.none(), st.binary(max_size=4))
PREFIXES = st.sampled_from(["/", "/p/", "/p/b", "/q/"])
T = TypeVar("T")


class StoreMachine(RuleBasedStateMachine):
    """Drives one store on a loop of its own; `states[revision]` is all that stood at `revision`."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = tempfile.TemporaryDirectory()
        self.states: dict[int, dict[str, Record]] = {1: {}}
        self.events: list[Event] = []
        self.compacted = 0

    async def open(self) -> Store:
        raise NotImplementedError

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        self.store = self.run(self.open())

    def teardown(self) -> None:
        self.run(self.store.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.directory.cleanup()

    @property
    def current(self) -> dict[str, Record]:
        return self.states[max(self.states)]

    @rule(key=KEYS, value=VALUES, how=st.sampled_from(["any", "fits", "absent", "off"]))
    def write(self, key: str, value: bytes | None, how: str) -> None:
        previous = self.current.get(key)
        found = previous.revision if previous else ABSENT
        expect = {"any": ANY, "fits": found, "absent": ABSENT, "off": found + 1}[how]
        work = self.store.delete(key, expect) if value is None else self.store.put(key, value, expect)
        if expect not in (ANY, found) or (value is None and previous is None):
            with pytest.raises(Conflict) as conflict:
                self.run(work)
            assert conflict.value.current == previous
            return
        revision = self.run(work)
        assert revision == max(self.states) + 1
        state = dict(self.current)
        state.pop(key, None)
        if value is not None:
            state[key] = Record(key, value, revision, previous.created if previous else revision)
        self.states[revision] = state
        self.events.append(Event(key, revision, value, previous))

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        assert self.run(self.store.get(key)) == self.current.get(key)

    @rule(prefix=PREFIXES, after=st.one_of(st.just(""), KEYS), limit=st.integers(0, 3), back=st.integers(0, 6))
    def list(self, prefix: str, after: str, limit: int, back: int) -> None:
        revision = max(1, max(self.states) - back)
        work = self.store.list(prefix, after=after, limit=limit, revision=revision if back else 0)
        if revision < self.compacted:
            with pytest.raises(Compacted):
                self.run(work)
            return
        page = self.run(work)
        state = self.states[revision]
        wanted = [state[key] for key in sorted(state) if key.startswith(prefix) and key > after]
        shown = wanted[:limit] if limit else wanted
        assert (list(page.records), page.revision) == (shown, revision)
        assert (page.more, page.remaining) == (len(shown) < len(wanted), len(wanted) - len(shown))

    @rule(prefix=PREFIXES, back=st.integers(0, 8))
    def watch(self, prefix: str, back: int) -> None:
        after = max(1, max(self.states) - back)
        wanted = [event for event in self.events if event.revision > after and event.key.startswith(prefix)]

        async def replay() -> list[Event]:
            async with self.store.watch(prefix, after=after) as events:
                return [*await anext(events)] if wanted else []

        if after < self.compacted:
            with pytest.raises(Compacted):
                self.run(replay())
        else:
            assert self.run(replay()) == wanted

    @rule(back=st.integers(0, 4))
    def compact(self, back: int) -> None:
        revision = max(1, max(self.states) - back)
        self.run(self.store.compact(revision))
        self.compacted = max(self.compacted, revision)

    @invariant()
    def knows_its_revision(self) -> None:
        if hasattr(self, "store"):
            assert self.store.revision == max(self.states)


class MemoryMachine(StoreMachine):
    async def open(self) -> Store:
        return MemoryStore()


class SqliteMachine(StoreMachine):
    async def open(self) -> Store:
        return await SqliteStore.open(Path(self.directory.name) / "store.db")

    @rule()
    def reopen(self) -> None:
        self.run(self.store.close())
        self.store = self.run(self.open())


MemoryMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
SqliteMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestMemory = MemoryMachine.TestCase
TestSqlite = SqliteMachine.TestCase
