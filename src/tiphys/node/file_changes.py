"""Wakes when files of a directory are written, made, moved in or removed: the kernel's inotify, by way of libc.

Source: https://man7.org/linux/man-pages/man7/inotify.7.html
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_CLOSE_WRITE, _MOVED_TO, _CREATE, _DELETE = 0x8, 0x80, 0x100, 0x200
_BUFFER = 64 * 1024


class FileChanges:
    """`async with FileChanges(directory) as changes: await changes.wait()`; what happened between waits is not lost.

    With `created`, also what is made and never written, as sockets are.
    Raises OSError where the directory is not there or the kernel has no watch left.
    """

    def __init__(self, directory: Path, *, created: bool = False) -> None:
        self._directory = directory
        self._events = _CLOSE_WRITE | _MOVED_TO | _DELETE | (_CREATE if created else 0)
        self._descriptor = -1
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = _checked(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        try:
            path = os.fsencode(self._directory)
            _checked(libc.inotify_add_watch(self._descriptor, path, self._events))
            asyncio.get_running_loop().add_reader(self._descriptor, self._read)
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    async def wait(self) -> None:
        """Return once something has changed since the last time."""
        await self._changed.wait()
        self._changed.clear()

    def _read(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._descriptor, _BUFFER):
                self._changed.set()


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
