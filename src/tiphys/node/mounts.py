"""Mounts: tmpfs, bind, unmount and the list of what is mounted; and paths resolved without following links out.

mount(2) and openat2(2) are called through libc, so no program is started and no path is ever parsed by one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE, MS_SHARED = 32, 4096, 16384, 1 << 18, 1 << 19, 1 << 20
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS, _RESOLVE_BENEATH = 0x02, 0x08
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Mount:
    target: str
    type: str
    source: str
    options: str


def _check(result: int, what: str, path: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}", path)
    return result


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    words = (source.encode(), os.fsencode(target), kind.encode() or None)
    _check(_libc.mount(*words, ctypes.c_ulong(flags), data.encode() or None), f"mount {kind or 'bind'}", target)


def tmpfs(target: str, *, size: int = 0, mode: int = 0o755) -> None:
    """Mount a tmpfs; `size` in bytes, 0 for the kernel's default of half the memory."""
    limit = f",size={size}" if size else ""
    _mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode:o}{limit}")


def bind(source: str, target: str, *, readonly: bool = False) -> None:
    """Make `source` appear at `target`, with what is mounted below it."""
    _mount(source, target, "", MS_BIND | MS_REC)
    if readonly:
        _mount("", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY)


def make_shared(target: str) -> None:
    """Let mounts made below `target` be seen in containers that ask for propagation."""
    _mount("", target, "", MS_SHARED | MS_REC)


def make_slave(target: str) -> None:
    """Let mounts made and undone in the namespace that this one was copied from follow here, and none go there."""
    _mount("", target, "", MS_SLAVE | MS_REC)


def make_private(target: str) -> None:
    """Let mounts made right below `target` be seen here only."""
    _mount("", target, "", MS_PRIVATE)


def overlay_works(directory: str) -> bool:
    """Whether an overlay can be mounted with its upper layer in `directory`: not so inside most containers."""
    with tempfile.TemporaryDirectory(dir=directory, prefix=".overlay-") as root:
        for name in ("lower", "upper", "work", "merged"):
            os.mkdir(f"{root}/{name}")
        options = f"lowerdir={root}/lower,upperdir={root}/upper,workdir={root}/work"
        try:
            _mount("overlay", f"{root}/merged", "overlay", 0, options)
        except OSError:
            return False
        unmount(f"{root}/merged")
        return True


def unmount(target: str) -> None:
    """Detach one mount; nothing happens where nothing is mounted."""
    if _libc.umount2(os.fsencode(target), _MNT_DETACH | _UMOUNT_NOFOLLOW) < 0:
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOENT):
            raise OSError(code, f"umount: {os.strerror(code)}", target)


def unmount_below(root: str) -> list[str]:
    """Detach everything mounted at or below `root`, innermost first; what was there."""
    found = [mount.target for mount in mounted(root)]
    for target in reversed(found):
        unmount(target)
    return found


def mounted(below: str = "/") -> list[Mount]:
    """The mounts that this thread sees at or below a path, in the order they were made."""
    prefix = below.rstrip("/") + "/"
    found = []
    for line in Path("/proc/thread-self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        target, options = (_unescape(word) for word in fields.split()[4:6])
        if target == below or target.startswith(prefix):
            kind, source, *_ = rest.split(" ")
            found.append(Mount(target, kind, _unescape(source), options))
    return found


def _unescape(word: str) -> str:
    return word.encode().decode("unicode_escape") if "\\" in word else word


def open_beneath(root: str, path: str, flags: int = os.O_PATH, mode: int = 0) -> int:
    """Open `path` inside `root`; a file descriptor, the caller's to close.

    Links are followed only while they stay inside; one that leads out raises OSError(EXDEV).
    """
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
        relative = os.fsencode(path.strip("/") or ".")
        result = _libc.syscall(_SYS_OPENAT2, top, relative, ctypes.c_char_p(how), ctypes.c_size_t(len(how)))
        return _check(result, f"open below {root}", path)
    finally:
        os.close(top)


def resolve_beneath(root: str, path: str) -> str:
    """The real path of `path` inside `root`, all links resolved; raises OSError where it leads out or is missing."""
    fd = open_beneath(root, path)
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def make_beneath(root: str, path: str, mode: int = 0o750) -> str:
    """Make the directories of `path` inside `root` where they are missing; the real path of the last."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise OSError(errno.EINVAL, "must not contain '..'", path)
    done = ""
    for part in parts:
        step = f"{done}/{part}".lstrip("/")
        try:
            os.close(open_beneath(root, step))
        except FileNotFoundError:
            parent = open_beneath(root, done, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.mkdir(part, mode, dir_fd=parent)
                # Not subject to the umask; the parent is held open, so the name cannot have moved.
                made = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=parent)
                os.fchmod(made, mode)
                os.close(made)
            finally:
                os.close(parent)
        done = step
    return resolve_beneath(root, path)
