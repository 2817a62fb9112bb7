"""Processes that outlive their parent: started in their own session, known by pid and start time, waited for by pidfd.

A pid alone may be reused; pid plus start time names one process for as long as the machine is up.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Identity:
    """`started` is in clock ticks since boot, field 22 of /proc/PID/stat."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        return started(self.pid) == self.started

    def save(self, path: Path) -> None:
        temporary = path.with_suffix(".new")
        temporary.write_text(f"{self.pid} {self.started}\n")
        temporary.replace(path)

    def signal(self, number: int) -> None:
        """Send a signal if it is still the same process."""
        if self.alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    async def wait(self) -> None:
        """Return when the process has ended; it need not be a child."""
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        try:
            if not self.alive:
                return
            loop.add_reader(fd, ended.set)
            await ended.wait()
        finally:
            loop.remove_reader(fd)
            os.close(fd)
        _reap(self.pid)

    async def stop(self, grace: float) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds; returns when it is gone."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                await self.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self.wait()


def _reap(pid: int) -> None:
    """Take a child's status, so that no zombie stays; processes of others are not ours to reap."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def started(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None for one that is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def load(path: Path) -> Identity | None:
    """The identity a pidfile names, if that process is still running."""
    try:
        pid, start = path.read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    identity = Identity(int(pid), int(start))
    return identity if identity.alive else None


def spawn(command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> Identity:
    """Start a daemon: own session, standard output and error appended to `log`, no other open files."""
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603 - the commands are ours, never a shell's
            list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            env=None if env is None else dict(env),
        )  # fmt: skip
    # Popen would warn that nobody waited; the pidfd does.
    child.returncode = 0
    begun = started(child.pid)
    return Identity(child.pid, begun if begun is not None else -1)


def matching(*words: str) -> Iterator[Identity]:
    """Processes that have every one of `words` among their arguments (the program's own name included)."""
    wanted = {word.encode() for word in words}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            arguments = Path(entry.path, "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        begun = started(int(entry.name))
        if wanted <= set(arguments) and begun is not None:
            yield Identity(int(entry.name), begun)
