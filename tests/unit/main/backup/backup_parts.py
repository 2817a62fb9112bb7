"""What the tests of backups back up."""

from __future__ import annotations

from tiphys.main.backup.archive import Head
from tiphys.store import Record

HEAD = Head("harbour", "uid-1", 1_700_000_000.0, 700, "sqlite", "0.1")
FILES = {"cluster.json": b'{"name":"harbour"}', "pki/ca.key": b"secret", "pki/empty": b""}


def records(count: int, size: int = 1000) -> list[Record]:
    return [Record(f"/registry/core/pods/x/{n:05}", b"%d" % n * (size // 4), 10 + n, 3) for n in range(count)]
