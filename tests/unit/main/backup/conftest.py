"""Archives for the tests of backups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from backup_parts import FILES, HEAD, records

from tiphys.main.backup.archive import Writer
from tiphys.main.backup.seal import Passphrase


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Path]:
    """Writes one with some records, sealed if a passphrase is given."""

    def write(passphrase: Passphrase | None = None, count: int = 2000) -> Path:
        writer = Writer(tmp_path / "one.tiphys-backup", HEAD, passphrase)
        for name, data in FILES.items():
            writer.file(name, data)
        for start in range(0, count, 300):
            writer.records(records(count)[start : start + 300])
        writer.finish()
        return tmp_path / "one.tiphys-backup"

    return write
