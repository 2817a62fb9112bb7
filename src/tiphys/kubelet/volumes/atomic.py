"""Files that change all at once: readers see the old set or the new one, never a mix.

Each visible name is a link through `..data`, itself a link to a dated directory; an update writes a new directory and
renames the one link. The layout is upstream's, which programs watch.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath

from tiphys.kubelet.volumes.payload import Payload

_DATA, _NEW = "..data", "..data_tmp"


class BadPath(Exception):
    """A key would write outside of its volume."""


def write(directory: Path, payload: Payload, group: int | None = None) -> None:
    """Make `directory` show exactly `payload`. `group` owns every file (fsGroup) and may read it."""
    for name in payload:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts or path.parts[0].startswith(".."):
            raise BadPath(f"path {name!r}: must be relative, without '..'")
    directory.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=directory))
    for name, file in payload.items():
        target = fresh / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
        if group is not None or file.uid:
            os.chown(target, file.uid, -1 if group is None else group)
        target.chmod(file.mode | 0o440 if group is not None else file.mode)
    # Said outright, for the process' umask is not made for files that containers read.
    for place in (directory, fresh, *(path for path in fresh.rglob("*") if path.is_dir())):
        if group is not None:
            os.chown(place, -1, group)
        place.chmod(0o755 if group is None else 0o2775)
    _publish(directory, fresh, {PurePosixPath(name).parts[0] for name in payload})


def _publish(directory: Path, fresh: Path, names: set[str]) -> None:
    """Switch to the new directory, then make the visible links match it and drop the old one."""
    data = directory / _DATA
    old = os.readlink(data) if data.is_symlink() else None
    (directory / _NEW).unlink(missing_ok=True)
    (directory / _NEW).symlink_to(fresh.name)
    (directory / _NEW).rename(data)
    for name in names:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(f"{_DATA}/{name}")
    for entry in os.listdir(directory):
        if not entry.startswith("..") and entry not in names:
            (directory / entry).unlink()
    if old is not None:
        shutil.rmtree(directory / old)
