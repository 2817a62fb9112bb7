"""What `tiphys status` says of a cluster's backups, from what is on this machine; a bucket is not asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from tiphys.main.backup import catalog
from tiphys.main.backup import settings as configured
from tiphys.main.backup.configuring import described
from tiphys.main.backup.destination import Directory
from tiphys.main.backup.runner import full_backups, problem_file
from tiphys.main.backup.seal import BackupError
from tiphys.main.backup.times import age, stamp
from tiphys.main.cluster import Cluster


def overview(cluster: Cluster) -> dict[str, Any]:
    """`text` is for people; `warnings` are what is wrong with the backups."""
    try:
        wanted = configured.load(cluster)
        found: dict[str, Any] = {"text": described(cluster, wanted), "warnings": []}
        destination = configured.destination_of(cluster, wanted)
        if isinstance(destination, Directory):
            found |= asyncio.run(_in_directory(destination, found["text"]))
    except BackupError as error:
        return {"text": "unknown", "warnings": [str(error)]}
    with suppress(FileNotFoundError):
        found["warnings"] = [f"nothing is backed up: {problem_file(cluster).read_text()}"]
    return found


def _changed(directory: Directory, names: Sequence[str]) -> float:
    found = [0.0]
    for name in names:
        # One that has outlived its use may be going at this moment.
        with suppress(FileNotFoundError):
            found.append((directory.path / name).stat().st_mtime)
    return max(found)


async def _in_directory(destination: Directory, text: str) -> dict[str, Any]:
    now = time.time()
    history = await catalog.generations(destination)
    full = await full_backups(destination)
    found: dict[str, Any] = {"destination": str(destination), "bytes": sum(each.size for each in history)}
    bases = [base for generation in history for base in generation.bases]
    if bases:
        changed = _changed(destination, [name for generation in history for name in generation.names])
        found |= {"since": stamp(bases[0].time), "shipped": stamp(changed)}
        text += f"; back to {stamp(bases[0].time)}, last change {age(changed, now)}, {found['bytes'] / 1e6:.1f} MB"
    if full:
        found["full"] = stamp(full[-1][0])
        text += f"; last full one {age(full[-1][0], now)}"
    return {**found, "text": text}
