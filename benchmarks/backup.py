"""What backups cost: filling stores, archives, and shipping every write. Prints figures; asserts nothing.

.venv/bin/python benchmarks/backup.py [OBJECTS]
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import orjson

from tiphys.base.clock import SystemClock
from tiphys.main.backup.archive import Archive, Head, Writer
from tiphys.main.backup.destination import Directory
from tiphys.main.backup.segment import SegmentHead
from tiphys.main.backup.shipper import Shipper
from tiphys.main.backup.source import records_of
from tiphys.store import Record, Store
from tiphys.store.memory import MemoryStore
from tiphys.store.sqlite import SqliteStore


def pod(number: int, change: int = 0) -> bytes:
    """Some 1.5 KB, of which about half is as hard to compress as names, UIDs and addresses are."""
    return orjson.dumps(
        {
            "kind": "Pod",
            "metadata": {"name": f"p{number}", "uid": os.urandom(16).hex(), "labels": {"app": "x" * 40}},
            "spec": {"noise": os.urandom(350).hex(), "containers": [{"name": "c", "image": "y" * 80}] * 4},
            "status": {"phase": "Running", "change": change, "podIP": f"10.42.1.{number % 250}"},
        }
    )


async def records(count: int) -> AsyncIterator[Sequence[Record]]:
    for start in range(0, count, 500):
        keys = range(start, min(start + 500, count))
        yield [Record(f"/registry/core/pods/d/p{n:06}", pod(n), n + 1, n + 1) for n in keys]


async def timed(what: str, count: int, store: Store) -> None:
    began = time.monotonic()
    await store.fill(records(count), 10**9)
    print(f"fill {what:<8} {count} objects: {time.monotonic() - began:.2f} s")


async def write(store: Store, path: Path) -> Head:
    revision, pages = await records_of(store)
    head = Head("bench", "uid", time.time(), revision, "sqlite", "0")
    writer = Writer(path, head, None)
    async for page in pages:
        await asyncio.to_thread(writer.records, page)
    await asyncio.to_thread(writer.finish)
    return head


async def archives(store: Store, directory: Path) -> None:
    path = directory / "one"
    began = time.monotonic()
    await write(store, path)
    wrote = time.monotonic()
    Archive(path).verify()
    print(f"archive: {path.stat().st_size / 1e6:.1f} MB, written in {wrote - began:.2f} s, "
          f"verified in {time.monotonic() - wrote:.2f} s")  # fmt: skip


async def shipping(directory: Path, count: int, *, ship: bool) -> float:
    """CPU per write, in microseconds, of 16 writers at a time."""
    store = await SqliteStore.open(directory / f"{ship}.db")
    shipper = Shipper(
        store, Directory(directory / "place"), SegmentHead("bench", "uid"), lambda path: write(store, path),
        SystemClock(), scratch=directory,
    )  # fmt: skip
    task = asyncio.create_task(shipper.run() if ship else asyncio.sleep(3600))
    values = [pod(n % 300, n) for n in range(3000)]
    began = time.process_time()
    for start in range(0, count, 16):
        puts = (store.put(f"/registry/core/pods/d/p{n % 300}", values[n % 3000]) for n in range(start, start + 16))
        await asyncio.gather(*puts)
    written = time.monotonic()
    while ship and shipper.shipped < store.revision:
        await asyncio.sleep(0.01)
    cpu = (time.process_time() - began) / count * 1e6
    if ship:
        print(f"the last write was shipped {time.monotonic() - written:.2f} s after it was committed")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.close()
    return cpu


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        directory = Path(name)
        await timed("memory", count, MemoryStore())
        store = await SqliteStore.open(directory / "store.db")
        await timed("sqlite", count, store)
        await archives(store, directory)
        await store.close()
        alone = await shipping(directory, 20_000, ship=False)
        shipped = await shipping(directory, 20_000, ship=True)
        print(f"CPU a write: {alone:.1f} us alone, {shipped:.1f} us shipped")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000))
