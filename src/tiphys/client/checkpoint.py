"""What a node knew last, kept in files so that its next agent can carry on while no API server answers.

Parts are named; each is a file of its own in `directory`, 0600, replaced as a whole. Changes that come together are one
write, which takes a twentieth of the time at most, and nothing is written while nothing changes. The directory belongs
on a file system that a reboot empties (`/run`): no Secret reaches a disk, no write waits for one, and a machine that
was given up and comes back does not start what meanwhile runs elsewhere. So nothing is synced to a disk either: what
survives is the end of a process.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from tiphys.base.clock import Clock
from tiphys.base.log import Log

_log = Log("checkpoint")
_GATHER_SECONDS = 0.2
# The more there is to write, the longer is gathered: so many times what the last write took.
_REST = 20


class Checkpoint:
    """Run `run()` under a supervisor; when that is cancelled, what is not written yet is.

    Changes of `gather` seconds are one write: what a killed process takes with it.
    """

    def __init__(self, directory: Path, clock: Clock, *, gather: float = _GATHER_SECONDS) -> None:
        self._directory, self._clock, self._gather = directory, clock, gather
        self._dirty: dict[str, Callable[[], bytes] | None] = {}
        self._woken = asyncio.Event()

    async def load(self, part: str) -> bytes:
        """The part as it was written last; empty if it never was."""
        return await asyncio.to_thread(self._read, part)

    def changed(self, part: str, encode: Callable[[], bytes]) -> None:
        """Write what `encode` gives, soon."""
        self._dirty[part] = encode
        self._woken.set()

    def drop(self, part: str) -> None:
        """Nobody needs the part any more."""
        self._dirty[part] = None
        self._woken.set()

    async def run(self) -> None:
        took = 0.0
        try:
            while True:
                await self._woken.wait()
                await self._clock.sleep(max(self._gather, _REST * took))
                self._woken.clear()
                began = self._clock.monotonic()
                await asyncio.to_thread(self._write, self._taken())
                took = self._clock.monotonic() - began
        finally:
            self._write(self._taken())

    def _taken(self) -> dict[str, bytes | None]:
        """What is to be written; encoded on the loop, where nothing changes meanwhile."""
        dirty, self._dirty = self._dirty, {}
        return {part: encode() if encode is not None else None for part, encode in dirty.items()}

    def _read(self, part: str) -> bytes:
        try:
            return (self._directory / part).read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            _log.warning("cannot read what was known last", part=part, error=str(error))
            return b""

    def _write(self, parts: dict[str, bytes | None]) -> None:
        try:
            if parts:
                self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            for part, data in parts.items():
                _replace(self._directory / part, data)
        except OSError as error:
            # The next change writes it whole. Until then a new agent has an older state, or none.
            _log.warning("cannot keep what is known", directory=str(self._directory), error=str(error))


def _replace(path: Path, data: bytes | None) -> None:
    if data is None:
        path.unlink(missing_ok=True)
        return
    fresh = path.with_name(f".{path.name}.new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    fresh.rename(path)
