"""A node inside this machine: a network, a mount and a UTS namespace that live without any process in them.

The network namespace is a named one (`netns`); the other two are pinned by bind mounts under a directory of the node's
own, so that an agent that died finds its containers' mounts again. Unmounting that directory, once no process is left
inside, ends them. What is mounted inside is never seen outside; what the machine mounts and unmounts is seen inside.
https://man7.org/linux/man-pages/man7/mount_namespaces.7.html
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tiphys.node import mounts

_CLONE_FS, _CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWNET = 0x200, 0x20000, 0x4000000, 0x40000000
_PINNED = {"mnt": _CLONE_NEWNS, "uts": _CLONE_NEWUTS}
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Inside:
    """How the machine looks from inside: `forget` are directories whose mounts are not taken along, `files` lie over
    the machine's (the machine's path: the file to see there)."""

    hostname: str
    forget: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def pinned(pins: Path) -> bool:
    """Whether the namespaces pinned under `pins` are there."""
    return {Path(mount.target) for mount in mounts.mounted(str(pins))} >= {pins / name for name in _PINNED}


def make(pins: Path, inside: Inside) -> None:
    """Make a mount and a UTS namespace and pin them under `pins`. Blocking; raises OSError."""
    mounts.unmount_below(str(pins))
    pins.mkdir(parents=True, exist_ok=True)
    # A mount namespace can be pinned only where no copy of the pin would reach the namespace itself.
    mounts.bind(str(pins), str(pins))
    mounts.make_private(str(pins))
    for name in _PINNED:
        (pins / name).touch()
    # From Linux 6.18 each processor numbers namespaces from a range of its own, and a mount namespace is pinned only
    # from one with a smaller number. The first has the smallest of all, but a container's has any; on the processor
    # where it was made, those made later have greater ones.
    *processors, last = sorted(os.sched_getaffinity(0))
    for processor in processors:
        try:
            _pin(pins, inside, processor)
            return
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
    _pin(pins, inside, last)


def _pin(pins: Path, inside: Inside, processor: int) -> None:
    with _Unshared(inside, processor) as thread:
        for name in _PINNED:
            mounts.bind(f"/proc/self/task/{thread}/ns/{name}", str(pins / name))


def enter(net: Path, pins: Path) -> None:
    """Move this process, which must have one thread only, into a node. Raises OSError where the node is not there."""
    descriptors = [(os.open(net, os.O_RDONLY | os.O_CLOEXEC), _CLONE_NEWNET)]
    descriptors += [(os.open(pins / name, os.O_RDONLY | os.O_CLOEXEC), kind) for name, kind in _PINNED.items()]
    for descriptor, kind in descriptors:
        _check(_libc.setns(descriptor, kind), "setns")
        os.close(descriptor)


class _Unshared:
    """A thread that stays in new namespaces for the length of a `with`, whose value is the thread's id."""

    def __init__(self, inside: Inside, processor: int) -> None:
        self._inside, self._processor = inside, processor
        self._ready, self._release = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="namespaces")

    def __enter__(self) -> int:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self._thread.native_id or 0

    def __exit__(self, *_: object) -> None:
        self._release.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._prepare()
        except BaseException as error:  # noqa: BLE001 - carried to the caller, who raises it
            self._failure = error
            self._ready.set()
            return
        self._ready.set()
        self._release.wait()

    def _prepare(self) -> None:
        os.sched_setaffinity(0, {self._processor})
        _check(_libc.unshare(_CLONE_FS | _CLONE_NEWNS | _CLONE_NEWUTS), "unshare")
        mounts.make_slave("/")
        for directory in self._inside.forget:
            mounts.unmount_below(directory)
        for place, file in self._inside.files.items():
            mounts.bind(file, place)
        # Containers that ask for propagation get it from this node's mounts.
        mounts.make_shared("/")
        socket.sethostname(self._inside.hostname)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
