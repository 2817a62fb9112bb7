"""kill -9 of a process that writes loses nothing that it was told is durable."""

import asyncio
import random
import signal
import sys
from pathlib import Path

from tiphys.store.sqlite import SqliteStore

ROUNDS = 8
WRITERS = 16

# Prints "revision key" once a write is acknowledged; each round writes keys of its own, and overwrites shared ones.
PROGRAM = f"""
import asyncio, os, sys
from pathlib import Path
from tiphys.store.sqlite import SqliteStore

async def write(store, round_, writer):
    for n in range(1_000_000):
        key = f"/own/{{round_}}/{{writer}}/{{n}}" if n % 2 else f"/shared/{{writer}}"
        revision = await store.put(key, f"{{round_}}-{{n}}".encode() * 50)
        os.write(1, f"{{revision}} {{key}} {{round_}}-{{n}}\\n".encode())
        if n % 50 == 49:
            await store.compact(revision - 20)

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]))
    async with asyncio.TaskGroup() as group:
        for writer in range({WRITERS}):
            group.create_task(write(store, sys.argv[2], writer))

asyncio.run(main())
"""


async def write_and_kill(path: Path, round_: int, lines: int) -> list[list[str]]:
    """What a writer acknowledged before it was killed, some time after its line number `lines`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(path), str(round_), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    acknowledged = []
    try:
        for _ in range(lines):
            acknowledged.append(await process.stdout.readline())
    finally:
        process.send_signal(signal.SIGKILL)
    acknowledged += (await process.stdout.read()).splitlines(keepends=True)
    assert await process.wait() == -signal.SIGKILL
    return [line.decode().split() for line in acknowledged if line.endswith(b"\n")]


async def test_every_acknowledged_write_survives(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    expected: dict[str, tuple[int, str]] = {}
    for round_ in range(ROUNDS):
        for revision, key, text in await write_and_kill(path, round_, random.randint(1, 1500)):
            expected[key] = max(expected.get(key, (0, "")), (int(revision), text))
        store = await SqliteStore.open(path)
        try:
            assert store.revision >= max(revision for revision, _ in expected.values())
            found = {record.key: record for record in (await store.list("/")).records}
        finally:
            await store.close()
        for key, (revision, text) in expected.items():
            assert found[key].revision >= revision, f"round {round_}: {key} went back"
            if found[key].revision == revision:
                assert found[key].value == text.encode() * 50
