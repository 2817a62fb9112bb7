"""Giving a volume to a pod's fsGroup: everything in it, or nothing where its root shows that this was done before.

Links are never followed, and no path is resolved twice: what a volume holds others may be changing meanwhile.
Source: https://kubernetes.io/docs/tasks/configure-pod-container/security-context/ (volume permission and ownership)
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_GROUP, _GROUP_READ_ONLY = 0o660, 0o440
# Of directories besides: what is made in them is the group's too, and whoever may read them may enter.
_DIRECTORY = stat.S_ISGID | 0o110


def give(directory: Path, group: int, *, policy: str, read_only: bool = False) -> None:
    """`policy` is the pod's fsGroupChangePolicy: Always or OnRootMismatch. Raises OSError."""
    wanted = _GROUP_READ_ONLY if read_only else _GROUP
    if policy == "OnRootMismatch" and _is_given(directory, group, wanted):
        return
    for _, directories, files, parent in os.fwalk(directory, topdown=False):
        for name in (*directories, *files):
            _give(name, parent, group, wanted)
    # The root last: it tells whether all was done.
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _give(".", root, group, wanted)
    finally:
        os.close(root)


def _is_given(directory: Path, group: int, wanted: int) -> bool:
    found, needed = directory.stat(), wanted | _DIRECTORY
    return found.st_gid == group and found.st_mode & needed == needed


def _give(name: str, parent: int, group: int, wanted: int) -> None:
    os.chown(name, -1, group, dir_fd=parent, follow_symlinks=False)
    mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        return
    opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    try:
        more = wanted | (_DIRECTORY if stat.S_ISDIR(mode) else 0)
        os.fchmod(opened, stat.S_IMODE(mode) | more)
    finally:
        os.close(opened)
