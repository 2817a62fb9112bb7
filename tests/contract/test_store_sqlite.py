"""What only the SQLite driver promises: the file."""

import asyncio
import resource
import sqlite3
import stat
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tiphys.store import Compacted, Record, Unavailable
from tiphys.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "store.db"


async def fill(store: SqliteStore, acknowledged: dict[str, int]) -> None:
    for n in range(1000):
        acknowledged[f"/{n:04}"] = await store.put(f"/{n:04}", b"x" * 1000)


async def test_reopening_finds_revision_records_and_history(path: Path) -> None:
    store = await SqliteStore.open(path)
    first = await store.put("/a", b"1")
    await store.put("/b", b"1")
    last = await store.delete("/b")
    await store.close()
    store = await SqliteStore.open(path)
    try:
        assert store.revision == last
        assert await store.get("/a") == Record("/a", b"1", first, first)
        async with store.watch("/", after=first) as events:
            assert [event.value for event in await anext(events)] == [b"1", None]
    finally:
        await store.close()


async def test_reopening_remembers_compaction(path: Path) -> None:
    store = await SqliteStore.open(path)
    old = await store.put("/a", b"1")
    await store.put("/a", b"2")
    await store.compact(store.revision)
    await store.close()
    store = await SqliteStore.open(path)
    try:
        with pytest.raises(Compacted):
            await store.list("/", revision=old)
    finally:
        await store.close()


async def test_closing_finishes_the_writes_asked_for(path: Path) -> None:
    store = await SqliteStore.open(path)
    writes = [asyncio.ensure_future(store.put(f"/{n}", b"x")) for n in range(100)]
    await asyncio.sleep(0)
    await store.close()
    assert sorted(await asyncio.gather(*writes)) == list(range(2, 102))


async def test_closing_leaves_no_compaction_waiting(path: Path) -> None:
    store = await SqliteStore.open(path)
    await asyncio.gather(*(store.put("/a", b"%d" % n) for n in range(4000)))
    compaction = asyncio.ensure_future(store.compact(store.revision))
    await asyncio.sleep(0)
    await store.close()
    results = await asyncio.gather(compaction, return_exceptions=True)
    assert results[0] is None or isinstance(results[0], Unavailable)
    store = await SqliteStore.open(path)
    try:
        assert [record.value for record in (await store.list("/")).records] == [b"3999"]
    finally:
        await store.close()


async def test_a_key_that_is_no_text_fails_alone(path: Path) -> None:
    store = await SqliteStore.open(path)
    try:
        results = await asyncio.gather(
            store.put("/a", b"1"), store.put("/\udc80", b"2"), store.put("/b", b"3"), return_exceptions=True
        )
        assert [type(result) for result in results] == [int, UnicodeEncodeError, int]
    finally:
        await store.close()


async def test_the_file_is_private_and_for_one_process(path: Path) -> None:
    store = await SqliteStore.open(path)
    try:
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        with pytest.raises(Unavailable, match="in use"):
            await SqliteStore.open(path)
    finally:
        await store.close()


async def test_a_snapshot_taken_under_load_opens_as_a_store(path: Path, tmp_path: Path) -> None:
    store = await SqliteStore.open(path)
    try:
        for n in range(300):
            await store.put(f"/{n:04}", b"x" * 1000)
        revision, *_ = await asyncio.gather(
            store.snapshot(tmp_path / "copy.db"), *(store.put(f"/{n:04}", b"y" * 1000) for n in range(300))
        )
        expected = await store.list("/", revision=revision)
    finally:
        await store.close()
    copy = await SqliteStore.open(tmp_path / "copy.db")
    try:
        assert copy.revision == revision
        assert (await copy.list("/")).records == expected.records
    finally:
        await copy.close()


async def test_a_full_disk_refuses_writes_harms_nothing_and_heals(path: Path) -> None:
    store = await SqliteStore.open(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    acknowledged: dict[str, int] = {}
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
        with pytest.raises(Unavailable) as refused:
            await fill(store, acknowledged)
        assert str(path.parent) in refused.value.reason
        assert store.revision == max(acknowledged.values())
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        acknowledged["/after"] = await store.put("/after", b"x")
        assert acknowledged["/after"] == len(acknowledged) + 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await store.close()
    store = await SqliteStore.open(path)
    try:
        assert {record.key: record.revision for record in (await store.list("/")).records} == acknowledged
    finally:
        await store.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def test_a_damaged_file_says_what_to_do(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database at all" * 500)
    with pytest.raises(Unavailable, match="tiphys restore"):
        await SqliteStore.open(path)
    with pytest.raises(Unavailable, match="tiphys restore"):
        await SqliteStore.open(path)


async def test_files_of_other_programs_and_formats_are_refused(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (x)")
    connection.commit()
    connection.close()
    with pytest.raises(Unavailable, match="another program"):
        await SqliteStore.open(path)
    path.unlink()
    await (await SqliteStore.open(path)).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Unavailable, match="format 99"):
        await SqliteStore.open(path)


async def test_compaction_gives_the_space_back_to_later_writes(path: Path) -> None:
    store = await SqliteStore.open(path)
    try:
        for _ in range(1200):
            await store.put("/a", b"x" * 1000)
        await store.compact(store.revision)
    finally:
        await store.close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM log").fetchone() == (1,)
    connection.close()


async def test_a_filled_file_counts_on_from_there_when_it_is_opened_again(path: Path) -> None:
    async def nothing() -> AsyncIterator[Sequence[Record]]:
        yield ()

    store = await SqliteStore.open(path)
    filled = await store.fill(nothing(), 1_000_000)
    await store.close()
    store = await SqliteStore.open(path)
    try:
        assert store.revision == filled > 1_000_000
        await store.compact(filled)
        assert await store.put("/a", b"1") == filled + 1
    finally:
        await store.close()
