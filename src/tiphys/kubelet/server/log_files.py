"""Container logs as the runtime writes them (CRI's format), read and followed.

A line is `TIME STREAM TAG TEXT`; TAG P marks a part of a longer line. Rotated files are `LOG.TIMESTAMP`. Following
waits for inotify; nothing polls. https://kubernetes.io/docs/concepts/cluster-administration/logging/
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tiphys.api.time import seconds

_libc = ctypes.CDLL(None, use_errno=True)
_IN_MODIFY, _IN_CREATE, _IN_MOVED_TO = 0x2, 0x100, 0x80
_IN_CLOEXEC, _IN_NONBLOCK = 0o2000000, 0o4000
_BLOCK = 64 * 1024
Running = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class LogOptions:
    """`tail`: lines from the end, None for all; `since` in unix seconds; `limit` in bytes; `stream` or "All"."""

    follow: bool = False
    tail: int | None = None
    since: float = 0.0
    timestamps: bool = False
    limit: int | None = None
    stream: str = "All"


class Watcher:
    """inotify on one directory; `wait` returns after something in it changed."""

    def __init__(self, directory: Path) -> None:
        self._fd = _libc.inotify_init1(_IN_CLOEXEC | _IN_NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1", str(directory))
        mask = _IN_MODIFY | _IN_CREATE | _IN_MOVED_TO
        if _libc.inotify_add_watch(self._fd, os.fsencode(directory), mask) < 0:
            code = ctypes.get_errno()
            os.close(self._fd)
            raise OSError(code, os.strerror(code), str(directory))
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._fd, self._ready)

    def _ready(self) -> None:
        try:
            while os.read(self._fd, 4096):
                self._changed.set()
        except BlockingIOError:
            return

    def wake(self) -> None:
        self._changed.set()

    async def wait(self) -> None:
        await self._changed.wait()
        self._changed.clear()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)


class _Shaper:
    """Turns raw lines into what the reader asked for."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit
        # A timestamp belongs at the start of a line only, not before each of its parts.
        self._fresh = True

    @property
    def full(self) -> bool:
        return self._left is not None and self._left <= 0

    def shape(self, raw: bytes) -> bytes:
        stamp, _, rest = raw.partition(b" ")
        stream, _, rest = rest.partition(b" ")
        tag, _, text = rest.partition(b" ")
        if self._options.stream != "All" and stream.decode() != self._options.stream.lower():
            return b""
        if self._options.since and seconds(stamp.decode()) < self._options.since:
            return b""
        prefix = stamp + b" " if self._options.timestamps and self._fresh else b""
        self._fresh = not tag.startswith(b"P")
        out = prefix + (text + b"\n" if self._fresh else text)
        if self._left is not None:
            out = out[: self._left]
            self._left -= len(out)
        return out


def rotated(path: Path) -> list[Path]:
    """The log and the files it was rotated into, oldest first; compressed ones are left out."""
    older = [item for item in path.parent.glob(f"{path.name}.*") if item.suffix not in (".gz", ".tmp")]
    return [*sorted(older), path]


def _tail_offset(file: BinaryIO, lines: int) -> int:
    """Where the last `lines` lines begin."""
    end = position = file.seek(0, os.SEEK_END)
    if lines <= 0:
        return end
    found = -1
    while position > 0:
        start = max(0, position - _BLOCK)
        file.seek(start)
        block = file.read(position - start)
        for index in range(len(block) - 1, -1, -1):
            if block[index] == 0x0A:
                found += 1
                if found == lines:
                    return start + index + 1
        position = start
    return 0


def _read_lines(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines from where the file stands; what is not a whole line yet is left for the next time."""
    while line := file.readline():
        if not line.endswith(b"\n"):
            file.seek(-len(line), os.SEEK_CUR)
            return
        yield line[:-1]


async def read(
    path: Path, options: LogOptions, running: Running, ended: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[bytes]:  # fmt: skip
    """The log's text in blocks. With `follow`, until the container has ended and all is read: `ended()` returns
    then, for an end writes to no file. An empty block says that all is read for now. Raises FileNotFoundError.
    """
    shaper = _Shaper(options)
    watcher = Watcher(path.parent) if options.follow else None
    waiting = _wake_when(ended, watcher)
    file = await asyncio.to_thread(path.open, "rb")
    try:
        if options.tail is not None:
            file.seek(await asyncio.to_thread(_tail_offset, file, options.tail))
        elif not options.follow:
            for old in rotated(path)[:-1]:
                with old.open("rb") as before:
                    async for block in _drain(before, shaper):
                        yield block
        while True:
            # Asked before reading: what was written before the end is read after it.
            alive = running()
            async for block in _drain(file, shaper):
                yield block
            if watcher is None or shaper.full or not alive:
                return
            if _replaced(path, file):
                file.close()
                file = await asyncio.to_thread(path.open, "rb")
                continue
            yield b""
            await watcher.wait()
    finally:
        file.close()
        if waiting is not None:
            waiting.cancel()
        if watcher is not None:
            watcher.close()


def _wake_when(ended: Callable[[], Awaitable[None]] | None, watcher: Watcher | None) -> asyncio.Future[None] | None:
    """Make the end of a container wake who follows its log."""
    if ended is None or watcher is None:
        return None
    future = asyncio.ensure_future(ended())
    future.add_done_callback(lambda done: None if done.cancelled() else watcher.wake())
    return future


async def _drain(file: BinaryIO, shaper: _Shaper) -> AsyncIterator[bytes]:
    """Everything that is in the file now, shaped, in blocks."""

    def block() -> tuple[bytes, bool]:
        parts: list[bytes] = []
        size = 0
        for line in _read_lines(file):
            parts.append(shaper.shape(line))
            size += len(parts[-1])
            if size >= _BLOCK or shaper.full:
                return b"".join(parts), not shaper.full
        return b"".join(parts), False

    more = True
    while more:
        data, more = await asyncio.to_thread(block)
        if data:
            yield data


def _replaced(path: Path, file: BinaryIO) -> bool:
    """Whether the log was rotated away under the open file."""
    try:
        now, held = path.stat(), os.fstat(file.fileno())
    except FileNotFoundError:
        return False
    return now.st_ino != held.st_ino
