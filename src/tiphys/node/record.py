"""The record of root-level side effects, so that `down` removes them even after `kill -9`.

One JSON line each, appended and synced before the thing is made. Kinds and how each is undone are in one table.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from tiphys.node import mounts


@dataclass(frozen=True, slots=True)
class Effect:
    """`kind` is one of mount, netns, link, nft_table; `name` is its path or name; nft tables as `family name`."""

    kind: str
    name: str


class Record:
    """The file under the run directory. `undo` may be repeated and works from any process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, kind: str, name: str) -> None:
        """Write down an effect that is about to happen."""
        if kind not in _UNDO:
            raise ValueError(f"effect {kind!r}: not one of {', '.join(sorted(_UNDO))}")
        effect = Effect(kind, name)
        if effect in self.effects():
            return
        with self._path.open("ab") as file:
            file.write(orjson.dumps(asdict(effect)) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def effects(self) -> list[Effect]:
        """What is written down, in order; a line cut short by a crash is left out: its effect had not begun."""
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        return [Effect(**orjson.loads(line)) for line in lines[:-1] if line]

    def take_back(self, kind: str, name: str) -> None:
        """Undo one effect; it stays written down, since undoing it twice does no harm. Raises OSError."""
        _UNDO[kind](name)

    def undo(self) -> list[str]:
        """Undo everything, last first; what could not be undone, in words. The record ends when nothing is left."""
        failures: list[str] = []
        for effect in reversed(self.effects()):
            try:
                _UNDO[effect.kind](effect.name)
            except (OSError, subprocess.CalledProcessError) as error:
                failures.append(f"{effect.kind} {effect.name}: {error}")
        if not failures:
            self._path.unlink(missing_ok=True)
        return failures


def _unmount(path: str) -> None:
    mounts.unmount_below(path)


def _delete_netns(name: str) -> None:
    path = Path("/run/netns", name)
    if path.exists():
        mounts.unmount(str(path))
        path.unlink(missing_ok=True)


def _delete_link(name: str) -> None:
    if Path("/sys/class/net", name).exists():
        subprocess.run(["ip", "link", "delete", name], check=True, capture_output=True)  # noqa: S603, S607


def _delete_table(name: str) -> None:
    family, _, table = name.partition(" ")
    # `add` first makes `delete` succeed also where the table is gone.
    script = f"add table {family} {table}\ndelete table {family} {table}\n"
    subprocess.run(["nft", "-f", "-"], input=script.encode(), check=True, capture_output=True)  # noqa: S607


_UNDO: dict[str, Callable[[str], None]] = {
    "mount": _unmount, "netns": _delete_netns, "link": _delete_link, "nft_table": _delete_table,
}  # fmt: skip
