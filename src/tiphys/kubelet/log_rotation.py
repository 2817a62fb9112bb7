"""Keeps container logs from filling the disk: a log that grew too large is put aside, and only the newest are kept.

https://kubernetes.io/docs/concepts/cluster-administration/logging/#log-rotation
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from tiphys.kubelet.runtime import Runtime, RuntimeFault
from tiphys.kubelet.server.log_files import rotated

MAX_BYTES, MAX_FILES = 10 << 20, 5


async def rotate(runtime: Runtime, container_id: str, path: Path, now: float) -> bool:
    """Rotate a running container's log when it is due; whether it was. Raises RuntimeFault."""
    if not await asyncio.to_thread(_put_aside, path, now):
        return False
    try:
        await runtime.reopen_log(container_id)
    except RuntimeFault:
        # The runtime goes on writing to the file it has, so that must be the one with the name.
        await asyncio.to_thread(_put_back, path)
        raise
    await asyncio.to_thread(_drop_oldest, path)
    return True


def _put_aside(path: Path, now: float) -> bool:
    try:
        if path.stat().st_size <= MAX_BYTES:
            return False
    except FileNotFoundError:
        return False
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d-%H%M%S")
    path.rename(f"{path}.{stamp}")
    return True


def _put_back(path: Path) -> None:
    older = rotated(path)[:-1]
    if older and not path.exists():
        older[-1].rename(path)


def _drop_oldest(path: Path) -> None:
    for old in rotated(path)[:-MAX_FILES]:
        old.unlink(missing_ok=True)
