"""Named network namespaces (`/run/netns/NAME`), as iproute2 keeps them, and running things inside one."""

from __future__ import annotations

import asyncio
import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000
_DIRECTORY = Path("/run/netns")
_libc = ctypes.CDLL(None, use_errno=True)


def path(name: str) -> Path:
    return _DIRECTORY / name


async def create(name: str) -> Path:
    """Make a namespace with its loopback up; nothing happens where it exists."""
    if not path(name).exists():
        await _ip("netns", "add", name)
    await _ip("-n", name, "link", "set", "lo", "up")
    return path(name)


async def delete(name: str) -> None:
    if path(name).exists():
        await _ip("netns", "delete", name)


async def inside(namespace: str, work: Callable[[], T]) -> T:
    """Run a blocking function in a network namespace given by path, on a thread of its own; its result."""
    return await asyncio.to_thread(_entered, namespace, work)


def _entered(namespace: str, work: Callable[[], T]) -> T:
    # setns changes the calling thread only; a pool's thread must not keep the namespace, so a fresh one does the work.
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            with open(namespace, "rb") as file:
                if _libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
                    code = ctypes.get_errno()
                    raise OSError(code, os.strerror(code), namespace)
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - carried to the caller, who raises it
            failure.append(error)

    thread = threading.Thread(target=run, name="netns")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


async def _ip(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec("ip", *arguments, stderr=asyncio.subprocess.PIPE)
    _, complaint = await process.communicate()
    if process.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {complaint.decode(errors='replace').strip()}")
