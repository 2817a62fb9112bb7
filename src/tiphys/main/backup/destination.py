"""Where backups go: a directory, or a bucket (`s3`); nothing above this knows which. Names are paths with slashes.

A file is put as a whole, or grown by appending; what was appended is durable when the call returns. Files are private.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from tiphys.main.backup.seal import BackupError

P = ParamSpec("P")
T = TypeVar("T")
_BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Item:
    """A file there; `size` in bytes."""

    name: str
    size: int


class Destination(Protocol):
    """Calls raise BackupError, which names the place and what to do."""

    async def list(self, prefix: str) -> Sequence[Item]:
        """The files whose names begin with `prefix`, in order."""

    async def put(self, name: str, path: Path) -> None:
        """Make a file of what `path` holds, whole or not at all."""

    async def append(self, name: str, data: bytes) -> None:
        """Add to a file that only this process appends to. If it fails, a part may have been added."""

    async def settle(self, name: str) -> None:
        """Nothing more will be appended to it."""

    def read(self, name: str) -> AsyncIterator[bytes]:
        """What a file holds, block by block."""

    async def delete(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""

    async def close(self) -> None: ...


class Directory:
    """Implements `Destination`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # The file that is appended to, and its descriptor.
        self._open: tuple[str, int] | None = None

    def __str__(self) -> str:
        return str(self.path)

    async def list(self, prefix: str) -> Sequence[Item]:
        return await self._do(self._list, prefix)

    def _list(self, prefix: str) -> Sequence[Item]:
        found = []
        # Only the directory that the prefix names is read, and those below it.
        for directory, _, names in os.walk(self.path / prefix.rpartition("/")[0]):
            for name in names:
                path = Path(directory, name)
                relative = str(path.relative_to(self.path))
                if relative.startswith(prefix) and not name.startswith("."):
                    # One that has outlived its use may be going at this moment.
                    with suppress(FileNotFoundError):
                        found.append(Item(relative, path.stat().st_size))
        return sorted(found, key=lambda item: item.name)

    async def put(self, name: str, path: Path) -> None:
        await self._do(self._put, name, path)

    def _put(self, name: str, path: Path) -> None:
        target = self._made(name)
        # Of its own, for two servers may put the same at the same time.
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "wb") as file, path.open("rb") as source:
                shutil.copyfileobj(source, file, _BLOCK)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(target)
            _sync(target.parent)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    async def append(self, name: str, data: bytes) -> None:
        await self._do(self._append, name, data)

    def _append(self, name: str, data: bytes) -> None:
        if self._open is None or self._open[0] != name:
            self._release()
            path = self._made(name)
            self._open = (name, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))
            _sync(path.parent)
        descriptor = self._open[1]
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fdatasync(descriptor)

    async def settle(self, name: str) -> None:
        self._release()

    async def read(self, name: str) -> AsyncIterator[bytes]:
        file = await self._do((self.path / name).open, "rb")
        try:
            while block := await self._do(file.read, _BLOCK):
                yield block
        finally:
            file.close()

    async def delete(self, name: str) -> None:
        await self._do((self.path / name).unlink, True)

    async def close(self) -> None:
        self._release()

    def _release(self) -> None:
        if self._open is not None:
            os.close(self._open[1])
            self._open = None

    def _made(self, name: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    async def _do(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        try:
            return await asyncio.to_thread(work, *arguments, **named)
        except OSError as error:
            raise BackupError(f"backups in {self.path}: {error.strerror}; see to its space and rights") from error


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
