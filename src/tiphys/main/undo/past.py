"""What the commands read: the history of a cluster, by the cluster's own settings for backups."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tiphys.main.backup import settings as configured
from tiphys.main.backup.history import Change, Point, changes, read
from tiphys.main.cluster import Cluster

States = dict[str, bytes]


# What a flush takes besides the rest before it. Seconds.
_FLUSH = 0.2


def settle(cluster: Cluster) -> None:
    """Wait for as long as a change takes to be shipped, so that what was just done is in the history."""
    wanted = configured.load(cluster)
    if wanted.continuous:
        time.sleep(wanted.interval + _FLUSH)


def changes_of(cluster: Cluster, key: str) -> list[Change]:
    """Every kept change of one key, the oldest first. Raises BackupError."""

    async def run() -> list[Change]:
        wanted = configured.load(cluster)
        destination = configured.destination_of(cluster, wanted)
        try:
            with tempfile.TemporaryDirectory(prefix="tiphys-history-") as scratch:
                found = changes(destination, lambda each: each == key, Path(scratch), configured.passphrase_of(wanted))
                return [change async for change in found]
        finally:
            await destination.close()

    return asyncio.run(run())


def states(cluster: Cluster, point: Point, matches: Callable[[str], bool]) -> States:
    """The stored bytes of the keys that match, as of a point. Raises BackupError where nothing reaches there."""

    async def run() -> States:
        wanted = configured.load(cluster)
        destination = configured.destination_of(cluster, wanted)
        try:
            with tempfile.TemporaryDirectory(prefix="tiphys-history-") as scratch:
                past = await read(destination, point, Path(scratch), configured.passphrase_of(wanted))
                return await asyncio.to_thread(
                    lambda: {r.key: r.value for batch in past.records() for r in batch if matches(r.key)}
                )
        finally:
            await destination.close()

    return asyncio.run(run())


def in_namespace(namespace: str) -> Callable[[str], bool]:
    """Whether a key is of an object in that namespace."""

    def matches(key: str) -> bool:
        parts = key.split("/")
        return len(parts) == 6 and parts[4] == namespace

    return matches
