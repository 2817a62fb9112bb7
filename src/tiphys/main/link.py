"""On a machine without kubectl, ours is there under that name for as long as there is a cluster."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

_LINK = Path("/usr/local/bin/kubectl")


def _target() -> Path:
    return Path(sys.executable).with_name("tiphys")


def link_kubectl() -> None:
    if shutil.which("kubectl") is None and _target().exists() and not _LINK.is_symlink():
        _LINK.symlink_to(_target())


def unlink_kubectl() -> None:
    if _LINK.is_symlink() and _LINK.readlink() == _target():
        _LINK.unlink()
