"""What a server runs: full backups when they are due, shipping as configured, another place when told so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from tiphys.base.clock import VirtualClock
from tiphys.main.backup import settings as configured
from tiphys.main.backup.archive import Archive
from tiphys.main.backup.overview import overview
from tiphys.main.backup.runner import Backups, archive_name, made_at, problem_file
from tiphys.main.backup.seal import BackupError
from tiphys.main.backup.settings import BackupSettings
from tiphys.main.backup.times import moment, shown_span, span, stamp
from tiphys.main.cluster import Cluster, Settings
from tiphys.store.memory import MemoryStore

DAY = 86400.0


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    made = Cluster("harbour")
    made.state, made.run, made.etc = tmp_path / "state", tmp_path / "run", tmp_path / "etc"
    made.run.mkdir()
    made.save(Settings("harbour", 0, 6443, 10250, "192.0.2.1", "n"))
    made.pki.joinpath("ca.key").write_text("secret")
    return made


@asynccontextmanager
async def running(cluster: Cluster, clock: VirtualClock) -> AsyncIterator[tuple[Backups, MemoryStore]]:
    store = MemoryStore()
    backups = Backups(cluster, store, clock)
    task = asyncio.create_task(backups.run())
    try:
        yield backups, store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def files(clock: VirtualClock, place: Path, pattern: str, count: int) -> list[str]:
    """The names of that many files, once they are there."""
    async with asyncio.timeout(20):
        while len(found := sorted(path.name for path in place.rglob(pattern) if path.name[0] != ".")) != count:
            await clock.advance(0.5)
            await asyncio.sleep(0.001)
    return found


async def test_full_backups_come_when_they_are_due_and_go_when_they_are_old(cluster: Cluster, tmp_path: Path):
    place, clock = tmp_path / "place", VirtualClock()
    wanted = BackupSettings(str(place), continuous=False, every=DAY, keep=2.5 * DAY)
    configured.save(cluster, wanted)
    async with running(cluster, clock) as (_, store):
        await store.put("/a", b"1")
        (first,) = await files(clock, place, "*.tiphys-backup", 1)
        for count in (2, 3):
            await clock.advance(DAY)
            await files(clock, place, "*.tiphys-backup", count)
        await clock.advance(DAY)
        async with asyncio.timeout(20):
            while (place / "backups" / first).exists():
                await asyncio.sleep(0.001)
        last = (await files(clock, place, "*.tiphys-backup", 3))[-1]
    archive = Archive(place / "backups" / last)
    assert archive.verify().records == 1
    assert {"cluster.json", "pki/ca.key", "backup.json"} == set(archive.files())
    # Another server does not begin with one that is not due.
    async with running(cluster, clock):
        await clock.advance(3600)
        assert last in await files(clock, place, "*.tiphys-backup", 3)


async def test_told_of_another_place_it_goes_there(cluster: Cluster, tmp_path: Path):
    clock = VirtualClock()
    async with running(cluster, clock) as (backups, store):
        await files(clock, cluster.state / "backup", "base-*", 1)
        wanted = configured.load(cluster)
        configured.save(cluster, msgspec.structs.replace(wanted, destination=str(tmp_path / "other")))
        backups.reload()
        await files(clock, tmp_path / "other", "base-*", 1)
        await store.put("/a", b"1")
        await files(clock, tmp_path / "other", "log-*", 1)
        await files(clock, cluster.state / "backup", "log-*", 0)
    assert not any((cluster.state / "backup-scratch").iterdir())


async def test_what_is_wrong_is_said_until_it_is_mended(cluster: Cluster, tmp_path: Path):
    clock = VirtualClock()
    wanted = BackupSettings(passphrase=str(tmp_path / "missing"))
    configured.save(cluster, wanted)
    async with running(cluster, clock) as (backups, _):
        async with asyncio.timeout(20):
            while not problem_file(cluster).exists():
                await asyncio.sleep(0.001)
        (warning,) = await asyncio.to_thread(lambda: overview(cluster)["warnings"])
        assert "nothing is backed up: cannot read the passphrase" in warning
        configured.save(cluster, BackupSettings())
        backups.reload()
        await files(clock, cluster.state / "backup", "base-*", 1)
        assert not problem_file(cluster).exists()
    found = await asyncio.to_thread(overview, cluster)
    assert found["warnings"] == []
    assert "every change within about a second, kept for 1w" in found["text"]


def test_settings_that_cannot_be_read_or_used_are_named(cluster: Cluster):
    configured.file_of(cluster).write_text("{")
    with pytest.raises(BackupError, match=r"backup\.json cannot be read"):
        configured.load(cluster)
    for place in ("ftp://x", "relative/path", "s3://"):
        with pytest.raises(BackupError):
            configured.open_destination(place, BackupSettings())


def test_names_tell_when_a_backup_was_made():
    from tiphys.main.backup.destination import Item

    name = archive_name("my-cluster", 1_700_000_000)
    assert name == "my-cluster-20231114T221320Z.tiphys-backup"
    assert made_at(Item(f"backups/{name}", 1)) == 1_700_000_000
    assert made_at(Item("backups/other", 1)) is None
    assert made_at(Item("backups/x-20239914T221320Z.tiphys-backup", 1)) is None


def test_times_as_people_write_them():
    import argparse

    assert [span(text) for text in ("90s", "30m", "6h", "7d", "2w", "1.5h", "0")] == [
        90, 1800, 21600, 7 * DAY, 14 * DAY, 5400, 0,
    ]  # fmt: skip
    assert [shown_span(seconds) for seconds in (90, 1800, 21600, 7 * DAY)] == ["90s", "30m", "6h", "1w"]
    assert moment("2023-11-14T22:13:20Z") == moment("2023-11-14T23:13:20+01:00") == 1_700_000_000
    assert stamp(1_700_000_000) == "2023-11-14T22:13:20Z"
    for kind, text in ((span, "6 hours"), (span, "-1h"), (moment, "yesterday")):
        with pytest.raises(argparse.ArgumentTypeError, match="write"):
            kind(text)
