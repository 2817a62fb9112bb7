"""What every driver of the store promises."""

import asyncio
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from tiphys.store import ABSENT, Compacted, Conflict, Event, FutureRevision, Record, Store, StoreError, Unavailable


async def take(events: AsyncIterator[Sequence[Event]], count: int) -> list[Event]:
    taken: list[Event] = []
    while len(taken) < count:
        taken.extend(await anext(events))
    assert len(taken) == count
    return taken


async def test_an_empty_store_is_past_revision_zero(store: Store) -> None:
    assert store.revision >= 1
    assert await store.get("/a") is None
    page = await store.list("/")
    assert (list(page.records), page.revision, page.more, page.remaining) == ([], store.revision, False, 0)


async def test_put_takes_the_next_revision_and_keeps_created(store: Store) -> None:
    first = await store.put("/a", b"1")
    second = await store.put("/a", b"2")
    assert second == first + 1 == store.revision
    assert await store.get("/a") == Record("/a", b"2", second, first)


async def test_expectations(store: Store) -> None:
    first = await store.put("/a", b"1", ABSENT)
    with pytest.raises(Conflict) as exists:
        await store.put("/a", b"2", ABSENT)
    assert exists.value.current == Record("/a", b"1", first, first)
    second = await store.put("/a", b"2", first)
    with pytest.raises(Conflict):
        await store.put("/a", b"3", first)
    with pytest.raises(Conflict):
        await store.delete("/a", first)
    with pytest.raises(Conflict) as missing:
        await store.put("/b", b"1", second)
    assert missing.value.current is None
    assert store.revision == second


async def test_delete_removes_and_a_missing_key_is_a_conflict(store: Store) -> None:
    first = await store.put("/a", b"1")
    removed = await store.delete("/a", first)
    assert removed == first + 1
    assert await store.get("/a") is None
    with pytest.raises(Conflict) as missing:
        await store.delete("/a")
    assert missing.value.current is None
    again = await store.put("/a", b"2", ABSENT)
    assert await store.get("/a") == Record("/a", b"2", again, again)


async def test_concurrent_writers_of_one_key_win_once(store: Store) -> None:
    results = await asyncio.gather(*(store.put("/a", b"%d" % n, ABSENT) for n in range(50)), return_exceptions=True)
    assert sum(isinstance(result, int) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 49


async def test_list_pages_in_key_order_and_counts_the_rest(store: Store) -> None:
    for name in "dbaec":
        await store.put(f"/pods/x/{name}", name.encode())
    await store.put("/pods0", b"beside")
    await store.put("/nodes/n", b"beside")
    page = await store.list("/pods/", limit=2)
    assert [record.key for record in page.records] == ["/pods/x/a", "/pods/x/b"]
    assert (page.more, page.remaining, page.revision) == (True, 3, store.revision)
    rest = await store.list("/pods/", after="/pods/x/b", revision=page.revision)
    assert [record.value for record in rest.records] == [b"c", b"d", b"e"]
    assert (rest.more, rest.remaining) == (False, 0)
    exact = await store.list("/pods/", limit=5)
    assert (len(exact.records), exact.more, exact.remaining) == (5, False, 0)


async def test_list_in_the_past_sees_what_stood_then(store: Store) -> None:
    a1 = await store.put("/p/a", b"a1")
    await store.put("/p/b", b"b1")
    await store.put("/p/c", b"c1")
    then = store.revision
    await store.put("/p/a", b"a2")
    await store.put("/p/a", b"a3")
    await store.delete("/p/b")
    await store.put("/p/d", b"d1")
    await store.delete("/p/c")
    await store.put("/p/c", b"c2")
    page = await store.list("/p/", revision=then)
    found = [(record.key, record.value) for record in page.records]
    assert found == [("/p/a", b"a1"), ("/p/b", b"b1"), ("/p/c", b"c1")]
    assert page.revision == then
    assert page.records[0] == Record("/p/a", b"a1", a1, a1)
    first = await store.list("/p/", limit=1, revision=then)
    assert (first.more, first.remaining) == (True, 2)
    assert [record.key for record in (await store.list("/p/")).records] == ["/p/a", "/p/c", "/p/d"]


async def test_the_future_is_refused(store: Store) -> None:
    with pytest.raises(FutureRevision):
        await store.list("/", revision=store.revision + 99)
    with pytest.raises(FutureRevision):
        async with store.watch("/", after=store.revision + 99):
            pass
    with pytest.raises(FutureRevision):
        await store.compact(store.revision + 99)


async def test_watch_tells_creations_changes_and_deletions(store: Store) -> None:
    async with store.watch("/p/", after=store.revision) as events:
        first = await store.put("/p/a", b"1")
        await store.put("/q/a", b"elsewhere")
        second = await store.put("/p/a", b"2")
        third = await store.delete("/p/a")
        seen = await take(events, 3)
    assert seen == [
        Event("/p/a", first, b"1", None),
        Event("/p/a", second, b"2", Record("/p/a", b"1", first, first)),
        Event("/p/a", third, None, Record("/p/a", b"2", second, first)),
    ]
    assert [event.created for event in seen] == [True, False, False]


async def test_a_watcher_has_an_event_no_later_than_its_writer(store: Store) -> None:
    async with store.watch("/", after=store.revision) as events:
        revision = await store.put("/a", b"1")
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        assert waiting.done()
        assert [event.revision for event in waiting.result()] == [revision]


async def test_watch_from_the_past_replays_and_joins_live_without_gap(store: Store) -> None:
    start = store.revision
    for n in range(30):
        await store.put(f"/p/{n % 7}", b"%d" % n)

    async def write() -> None:
        for n in range(30, 2000):
            await store.put(f"/p/{n % 7}", b"%d" % n)

    async with asyncio.TaskGroup() as group, store.watch("/p/", after=start) as events:
        group.create_task(write())
        seen = await take(events, 2000)
    assert [event.revision for event in seen] == list(range(start + 1, start + 2001))
    assert [event.value for event in seen] == [b"%d" % n for n in range(2000)]


async def test_a_cancelled_wait_loses_no_event(store: Store) -> None:
    async with store.watch("/", after=store.revision) as events:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 0)
        await store.put("/a", b"1")
        assert len(await anext(events)) == 1


async def test_a_slow_watcher_is_told_to_relist(open_store: Callable[..., Awaitable[Store]]) -> None:
    store = await open_store(watch_capacity=10)
    async with (
        store.watch("/", after=store.revision) as slow,
        store.watch("/", after=store.revision) as quick,
    ):
        for n in range(11):
            await store.put("/a", b"%d" % n)
            assert len(await anext(quick)) == 1
        with pytest.raises(Compacted):
            await anext(slow)


async def test_compaction_forgets_history_and_keeps_what_is_current(store: Store) -> None:
    await store.put("/a", b"1")
    await store.put("/b", b"1")
    old = store.revision
    await store.delete("/b")
    kept = await store.put("/a", b"2")
    last = await store.put("/a", b"3")
    await store.compact(kept)
    with pytest.raises(Compacted) as error:
        await store.list("/", revision=old)
    assert error.value.oldest == kept
    with pytest.raises(Compacted):
        async with store.watch("/", after=old):
            pass
    assert [record.value for record in (await store.list("/", revision=kept)).records] == [b"2"]
    assert [record.value for record in (await store.list("/")).records] == [b"3"]
    async with store.watch("/", after=kept) as events:
        (event,) = await anext(events)
    assert (event.revision, event.previous and event.previous.value) == (last, b"2")
    await store.compact(old)


async def test_compaction_of_everything_keeps_the_revision(store: Store) -> None:
    await store.put("/a", b"1")
    last = await store.delete("/a")
    await store.compact(last)
    assert store.revision == last
    assert await store.put("/a", b"2", ABSENT) == last + 1


async def test_compaction_runs_beside_writers(store: Store) -> None:
    for n in range(1500):
        await store.put(f"/{n % 10}", b"%d" % n)
    results = await asyncio.gather(store.compact(store.revision), *(store.put(f"/{n}", b"new") for n in range(10)))
    assert len(set(results[1:])) == 10
    assert [record.value for record in (await store.list("/")).records] == [b"new"] * 10


async def test_snapshot_is_a_private_new_file(store: Store, tmp_path: Path) -> None:
    await store.put("/a", b"1")
    copy = tmp_path / "copy"
    assert await store.snapshot(copy) == store.revision
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        await store.snapshot(copy)


async def test_close_ends_watches_and_refuses_work(store: Store) -> None:
    async with store.watch("/", after=store.revision) as events:
        await store.close()
        with pytest.raises(Unavailable):
            await anext(events)
    for attempt in (store.get("/a"), store.list("/"), store.put("/a", b""), store.delete("/a"), store.compact(1)):
        with pytest.raises(Unavailable):
            await attempt


async def test_what_is_current_has_been_shown_to_all_watchers(store: Store) -> None:
    async with store.watch("/", after=store.revision) as events:
        await store.put("/a", b"1")
        revision = await store.put("/a", b"2")
        assert await store.current() == revision == store.revision
        assert [event.revision for event in await anext(events)][-1] == revision


async def batches(count: int, size: int = 100) -> AsyncIterator[Sequence[Record]]:
    for start in range(0, count, size):
        yield [Record(f"/{n:05}", b"%d" % n, 7 + n, 3) for n in range(start, min(start + size, count))]


async def test_filling_moves_revisions_forward_and_forgets_what_was(store: Store) -> None:
    base = store.revision + 1_000_000
    filled = await store.fill(batches(1000), base)
    assert filled == store.revision > base
    page = await store.list("/")
    assert [(record.key, record.value) for record in page.records] == [(f"/{n:05}", b"%d" % n) for n in range(1000)]
    assert all(base < record.revision <= filled for record in page.records)
    assert all(record.created == record.revision for record in page.records)
    assert page.revision >= filled
    for old in (1, base):
        with pytest.raises(Compacted):
            await store.list("/", revision=old)
        with pytest.raises(Compacted):
            async with store.watch("/", after=old):
                pass
    first = page.records[0]
    with pytest.raises(Conflict):
        await store.put(first.key, b"x", 8)
    async with store.watch("/", after=filled) as events:
        written = await store.put(first.key, b"x", first.revision)
        assert written > filled
        assert list(await anext(events)) == [Event(first.key, written, b"x", first)]


async def test_only_an_empty_store_is_filled(store: Store) -> None:
    await store.put("/a", b"1")
    with pytest.raises(StoreError, match="not empty"):
        await store.fill(batches(1), store.revision + 1)
    await store.delete("/a")
    with pytest.raises(StoreError, match="not empty"):
        await store.fill(batches(1), store.revision - 1)
    assert await store.get("/00000") is None
