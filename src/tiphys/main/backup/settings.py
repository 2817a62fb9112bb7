"""How a cluster is backed up while it runs: what `tiphys backup configure` writes and its server reads."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from tiphys.main.backup.destination import Destination, Directory
from tiphys.main.backup.seal import BackupError, Passphrase
from tiphys.main.cluster import Cluster, write_private

_DAY = 86400.0
# Where nothing is configured, the history stays on the machine, for undoing; it is bounded so that it harms nobody.
_DEFAULT_BYTES = 256 * 1024 * 1024


class BackupSettings(msgspec.Struct, frozen=True):
    """`destination` is a directory or s3://BUCKET/PREFIX, "" for one beside the state; times are in seconds.

    `continuous` ships every change within about `interval`; `every` (0: never) writes full backups besides. Both are
    kept for `keep`, the history in no more than `keep_bytes` (0: any). `passphrase` is the path of a file.
    """

    destination: str = ""
    continuous: bool = True
    interval: float = 0.5
    every: float = 0.0
    keep: float = 7 * _DAY
    keep_bytes: int = _DEFAULT_BYTES
    passphrase: str = ""
    endpoint: str = ""
    region: str = ""
    credentials: str = ""


def file_of(cluster: Cluster) -> Path:
    return cluster.state / "backup.json"


def load(cluster: Cluster) -> BackupSettings:
    """What was configured, or the defaults. Raises BackupError."""
    path = file_of(cluster)
    try:
        return msgspec.json.decode(path.read_bytes(), type=BackupSettings)
    except FileNotFoundError:
        return BackupSettings()
    except msgspec.MsgspecError as error:
        raise BackupError(f"{path} cannot be read ({error}): `tiphys backup configure {cluster.name}` anew") from error


def save(cluster: Cluster, settings: BackupSettings) -> None:
    write_private(file_of(cluster), msgspec.json.encode(settings))


def passphrase_of(settings: BackupSettings) -> Passphrase | None:
    return Passphrase.read(Path(settings.passphrase)) if settings.passphrase else None


def destination_of(cluster: Cluster, settings: BackupSettings) -> Destination:
    """Where it goes. Raises BackupError for what can be no destination."""
    return open_destination(settings.destination or os.fspath(cluster.state / "backup"), settings)


def open_destination(place: str, settings: BackupSettings) -> Destination:
    if place.startswith("s3://"):
        from tiphys.main.backup.s3 import Bucket, bucket_settings

        return Bucket(bucket_settings(place, settings.endpoint, settings.region, settings.credentials))
    if "://" in place:
        raise BackupError(f"{place!r} is no destination: give a directory or s3://BUCKET/PREFIX")
    path = Path(place)
    if not path.is_absolute():
        raise BackupError(f"{place!r} is no destination: give the whole path of a directory, or s3://BUCKET/PREFIX")
    return Directory(path)
