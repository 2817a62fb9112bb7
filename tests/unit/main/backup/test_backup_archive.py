"""The file: what goes in comes out, and nothing else is taken for it."""

from __future__ import annotations

import random
import stat
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
from backup_parts import FILES, HEAD, records

from tiphys.main.backup.archive import Archive, Writer
from tiphys.main.backup.seal import Altered, BackupError, Passphrase, Truncated, WrongPassphrase

SECRET = Passphrase(b"by the steering oar")
Write = Callable[..., Path]


@pytest.mark.parametrize("passphrase", [None, SECRET])
def test_what_goes_in_comes_out(archive: Write, passphrase: Passphrase | None):
    path = archive(passphrase)
    found = Archive(path, passphrase)
    manifest = found.verify()
    assert (found.head.cluster, found.head.uid, found.head.revision) == ("harbour", "uid-1", 700)
    assert manifest.records == 2000
    assert found.files() == FILES
    assert list(chain.from_iterable(found.records())) == records(2000)


def test_it_is_private_and_appears_whole(tmp_path: Path):
    path = tmp_path / "one.tiphys-backup"
    writer = Writer(path, HEAD, None)
    writer.records(records(10))
    assert not path.exists()
    writer.finish()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    writer = Writer(tmp_path / "two.tiphys-backup", HEAD, None)
    writer.abandon()
    assert [file.name for file in tmp_path.iterdir()] == ["one.tiphys-backup"]


def test_an_empty_store_is_a_backup_too(archive: Write):
    assert Archive(archive(count=0)).verify().records == 0


@pytest.mark.parametrize("passphrase", [None, SECRET])
def test_every_truncation_is_called_one(archive: Write, passphrase: Passphrase | None):
    path = archive(passphrase, 300)
    whole = path.read_bytes()
    for size in {*random.Random(1).sample(range(500, len(whole)), 40), len(whole) - 1, len(whole) - 33}:
        path.write_bytes(whole[:size])
        with pytest.raises(Truncated, match=r"one\.tiphys-backup is truncated"):
            Archive(path, passphrase).verify()


@pytest.mark.parametrize("passphrase", [None, SECRET])
def test_every_alteration_is_noticed(archive: Write, passphrase: Passphrase | None):
    path = archive(passphrase, 300)
    whole = path.read_bytes()
    for at in random.Random(2).sample(range(len(whole)), 60):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(BackupError):
            Archive(path, passphrase).verify()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    with pytest.raises(Altered, match="altered or damaged"):
        Archive(path, passphrase).verify()


def test_a_sealed_one_cannot_be_altered_with_a_checksum_to_match(archive: Write, tmp_path: Path):
    import hashlib

    path = archive(SECRET, 300)
    whole = path.read_bytes()
    assert whole.count(b'"cluster":"harbour"') == 1
    forged = whole[:-32].replace(b'"cluster":"harbour"', b'"cluster":"another"')
    path.write_bytes(forged + hashlib.sha256(forged).digest())
    with pytest.raises(Altered):
        Archive(path, SECRET).verify()


def test_the_wrong_passphrase_or_none_is_called_that(archive: Write):
    path = archive(SECRET)
    with pytest.raises(WrongPassphrase, match="does not open with this passphrase"):
        Archive(path, Passphrase(b"another")).verify()
    with pytest.raises(WrongPassphrase, match="--passphrase-file"):
        Archive(path).verify()
    assert b"secret" not in path.read_bytes()


def test_other_files_and_formats_are_refused(archive: Write, tmp_path: Path):
    other = tmp_path / "other"
    other.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(BackupError, match="no backup of Tiphys"):
        Archive(other)
    with pytest.raises(BackupError, match="cannot read"):
        Archive(tmp_path / "missing")
    path = archive()
    path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":9'))
    with pytest.raises(BackupError, match="has format 9"):
        Archive(path)


def test_passphrases_come_from_private_files(tmp_path: Path):
    file = tmp_path / "passphrase"
    file.write_text("by the steering oar\n")
    file.chmod(0o644)
    with pytest.raises(BackupError, match="chmod 600"):
        Passphrase.read(file)
    file.chmod(0o600)
    Passphrase.read(file)
    file.write_text("")
    with pytest.raises(BackupError, match="empty"):
        Passphrase.read(file)
    with pytest.raises(BackupError, match="cannot read"):
        Passphrase.read(tmp_path / "none")
