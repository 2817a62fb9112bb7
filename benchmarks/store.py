"""The SQLite store: durable puts a second and CPU time a put by writers, and what reads cost.

Run: .venv/bin/python benchmarks/store.py [directory]. The directory decides which disk is measured.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from tiphys.store import Store
from tiphys.store.sqlite import SqliteStore

VALUE = b"x" * 1500
PREFIX = "/registry/core/pods/default/"
KEYS = 2000


async def puts(store: Store, writers: int, count: int) -> None:
    async def write(writer: int) -> None:
        for n in range(count // writers):
            await store.put(f"{PREFIX}{(writer * 7919 + n) % KEYS:06}", VALUE)

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*map(write, range(writers)))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(f"put, {writers:3} writers: {count / wall:8.0f} a second, {cpu / count * 1e6:6.1f} us CPU each")


async def reads(store: Store) -> None:
    begin = time.perf_counter()
    for n in range(20_000):
        await store.get(f"{PREFIX}{n % KEYS:06}")
    print(f"get: {(time.perf_counter() - begin) / 20_000 * 1e6:.1f} us")
    for limit, back in ((0, 0), (500, 0), (500, 2000)):
        revision = store.revision - back if back else 0
        begin = time.perf_counter()
        page = await store.list(PREFIX, limit=limit, revision=revision)
        spent = (time.perf_counter() - begin) * 1e3
        print(f"list of {len(page.records)}, {back} revisions ago: {spent:.1f} ms")


async def main(directory: Path) -> None:
    store = await SqliteStore.open(directory / "store.db")
    try:
        for writers in (1, 16, 64, 256):
            await puts(store, writers, 2000 * min(writers, 8))
        await reads(store)
        begin = time.perf_counter()
        await store.compact(store.revision)
        print(f"compact: {(time.perf_counter() - begin) * 1e3:.0f} ms")
        begin = time.perf_counter()
        await store.snapshot(directory / "copy.db")
        print(f"snapshot: {(time.perf_counter() - begin) * 1e3:.0f} ms")
    finally:
        await store.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as made:
        uvloop.run(main(Path(made)))
