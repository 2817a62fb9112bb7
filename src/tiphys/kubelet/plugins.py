"""Plugins of the kubelet: whoever makes a socket in the `plugins_registry` directory is asked who it is, and told.

A socket that is made anew is a plugin that was started again. One that does not answer yet is asked again.
Source: https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/#device-plugin-registration
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock
from tiphys.base.grpc import RpcError
from tiphys.base.log import Log
from tiphys.node import plugins
from tiphys.node.file_changes import FileChanges

_log = Log("plugins")
_RETRY = Backoff(initial=0.1, maximum=10.0)
DRA = "DRAPlugin"


@dataclass(frozen=True, slots=True)
class Driver:
    """A registered driver of dynamic resources: where it listens, and which service it offers there."""

    name: str
    endpoint: str
    service: str


class Plugins:
    """`arrived` is called when one more is there; `on_gone` when one went."""

    def __init__(self, directory: Path, clock: Clock, arrived: Callable[[], None]) -> None:
        self._directory, self._clock, self._arrived = directory, clock, arrived
        self.on_gone: Callable[[], None] = lambda: None
        # By socket: what tells it from the next one of its name, and who listens there; the last registered is last.
        self._known: dict[Path, tuple[int, int]] = {}
        self._drivers: dict[Path, Driver] = {}
        self._failures = 0

    def driver(self, name: str) -> Driver | None:
        """While a driver is replaced there are two of a name: the newer one counts."""
        return next((driver for driver in reversed(self._drivers.values()) if driver.name == name), None)

    async def run(self) -> None:
        """Follow the directory until cancelled. Raises OSError."""
        await asyncio.to_thread(self._directory.mkdir, 0o750, parents=True, exist_ok=True)
        async with FileChanges(self._directory, created=True) as changes:
            while True:
                missed = await self.look()
                self._failures = self._failures + 1 if missed else 0
                if missed:
                    await self._either(changes)
                else:
                    await changes.wait()

    async def _either(self, changes: FileChanges) -> None:
        """Until something changes, or it is time to ask again."""
        tasks = [
            asyncio.ensure_future(changes.wait()),
            asyncio.ensure_future(self._clock.sleep(_RETRY.delay(self._failures))),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def look(self) -> int:
        """Register who is new, forget who is gone; how many did not answer."""
        present = await asyncio.to_thread(_sockets, self._directory)
        for path in [path for path, identity in self._known.items() if present.get(path) != identity]:
            del self._known[path]
            gone = self._drivers.pop(path, None)
            if gone is not None:
                _log.info("plugin gone", plugin=gone.name)
                self.on_gone()
        missed = 0
        for path, identity in present.items():
            if path not in self._known:
                try:
                    await self._register(path)
                    self._known[path] = identity
                except RpcError as error:
                    missed += 1
                    _log.debug("plugin does not answer yet", socket=str(path), error=str(error))
        return missed

    async def _register(self, path: Path) -> None:
        info = await plugins.introduce(str(path))
        service = next((plugins.DRA_SERVICES[v] for v in plugins.DRA_SERVICES if v in info.supported_versions), "")
        problem = ""
        if info.type != DRA:
            problem = f"plugins of type {info.type!r} are not supported here, only {DRA}"
        elif not service:
            theirs, ours = ", ".join(info.supported_versions), ", ".join(plugins.DRA_SERVICES)
            problem = f"none of the versions is supported: {theirs} (here: {ours})"
        if problem:
            _log.warning("plugin refused", plugin=info.name, why=problem)
            await plugins.tell_registered(str(path), problem)
            return
        self._drivers[path] = Driver(info.name, info.endpoint or str(path), service)
        await plugins.tell_registered(str(path))
        _log.info("plugin registered", plugin=info.name, service=service)
        self._arrived()


def _sockets(directory: Path) -> dict[Path, tuple[int, int]]:
    """The sockets below the directory, each with what tells it from another one of its name."""
    found: dict[Path, tuple[int, int]] = {}
    for path in sorted(directory.iterdir()):
        with suppress(FileNotFoundError):
            status = path.stat()
            if stat.S_ISSOCK(status.st_mode) and not path.name.startswith("."):
                found[path] = (status.st_ino, status.st_mtime_ns)
    return found
