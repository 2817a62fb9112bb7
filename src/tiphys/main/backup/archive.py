"""The one-file backup, `.tiphys-backup`: a head in clear, chunks, and a trailer that tells that it is whole.

    tiphys-backup\n | length, head (JSON) | length, chunk | ... | 0 | tiphysok | SHA-256 of all before

Lengths are 32 bits, big-endian. A chunk is compressed msgpack, sealed if there is a passphrase: a file of the cluster,
a batch of the store's records, or, as the last, the manifest with the digest of every part. Written and read as a
stream, so that memory does not grow with the cluster. All of it blocks: call it in a thread.
"""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, BinaryIO

import msgspec

from tiphys.main.backup.seal import Altered, BackupError, Passphrase, Sealer, Sealing, Truncated, sealer_of
from tiphys.store import Record, Revision

SUFFIX = ".tiphys-backup"
FORMAT = 1
_MAGIC, _END = b"tiphys-backup\n", b"tiphysok"
# Bytes. Objects are at most 1.5 MiB, and a batch is closed once it is larger than the first figure.
_BATCH, _MOST = 256 * 1024, 64 * 1024 * 1024
_TRAILER = 4 + len(_END) + hashlib.sha256().digest_size
_LEVEL = 1


class Head(msgspec.Struct, frozen=True):
    """What anybody may know of a backup. `created` is in seconds since the epoch, `version` that of Tiphys."""

    cluster: str
    uid: str
    created: float
    revision: Revision
    store: str
    version: str
    format: int = FORMAT
    sealing: Sealing | None = None


class Part(msgspec.Struct, frozen=True, array_like=True, tag="file"):
    """A file of the cluster, by its path below the state directory."""

    name: str
    data: bytes


class Batch(msgspec.Struct, frozen=True, array_like=True, tag="records"):
    """Key, value, revision, created: in the order of keys."""

    records: list[tuple[str, bytes, int, int]]


class Manifest(msgspec.Struct, frozen=True, array_like=True, tag="manifest"):
    """SHA-256 of each file; number, bytes and digest (see `Digest`) of the records."""

    files: dict[str, str]
    records: int
    bytes: int
    digest: str


_chunk = msgspec.msgpack.Decoder(Part | Batch | Manifest)


class Digest:
    """Of keys and values in order, whatever their revisions and their batches."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.records = self.bytes = 0

    def add(self, records: Sequence[Record]) -> None:
        for record in records:
            self._hash.update(b"%b\0%d\0" % (record.key.encode(), len(record.value)))
            self._hash.update(record.value)
            self.bytes += len(record.value)
        self.records += len(records)

    def manifest(self, files: dict[str, str]) -> Manifest:
        return Manifest(files, self.records, self.bytes, self._hash.hexdigest())


class Writer:
    """Writes a new file, mode 0600, which is there under its name once `finish` has made it durable."""

    def __init__(self, path: Path, head: Head, passphrase: Passphrase | None) -> None:
        self._path, self._temporary = path, path.with_name(f".{path.name}.new")
        head = msgspec.structs.replace(head, sealing=passphrase.sealing() if passphrase else None)
        encoded = msgspec.json.encode(head)
        self._sealer = sealer_of(head.sealing, passphrase, path.name, encoded)
        self._files: dict[str, str] = {}
        self._digest, self._hash = Digest(), hashlib.sha256()
        self._waiting: list[tuple[str, bytes, int, int]] = []
        self._size = 0
        descriptor = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        self._file: BinaryIO = open(descriptor, "wb")  # noqa: SIM115 - closed by finish or abandon
        self._put(_MAGIC)
        self._frame(encoded)

    def file(self, name: str, data: bytes) -> None:
        self._files[name] = hashlib.sha256(data).hexdigest()
        self._add(Part(name, data))

    def records(self, records: Sequence[Record]) -> None:
        self._digest.add(records)
        for record in records:
            self._waiting.append((record.key, record.value, record.revision, record.created))
            self._size += len(record.value)
            if self._size > _BATCH:
                self._flush()

    def finish(self) -> Manifest:
        if self._waiting:
            self._flush()
        manifest = self._digest.manifest(self._files)
        self._add(manifest)
        self._put(bytes(4) + _END)
        self._file.write(self._hash.digest())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.rename(self._path)
        return manifest

    def abandon(self) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _flush(self) -> None:
        self._add(Batch(self._waiting))
        self._waiting, self._size = [], 0

    def _add(self, chunk: Part | Batch | Manifest) -> None:
        self._frame(self._sealer.seal(zlib.compress(msgspec.msgpack.encode(chunk), _LEVEL)))

    def _frame(self, payload: bytes) -> None:
        self._put(len(payload).to_bytes(4, "big"))
        self._put(payload)

    def _put(self, data: bytes) -> None:
        self._hash.update(data)
        self._file.write(data)


class Archive:
    """A backup to read. Raises BackupError for what is none; `verify` first, then trust the rest."""

    def __init__(self, path: Path, passphrase: Passphrase | None = None) -> None:
        self.path, self._passphrase = path, passphrase
        with self._open() as file:
            self._encoded_head, self._head = _read_head(file, str(path))
            self._start = file.tell()

    @property
    def head(self) -> Head:
        return self._head

    def verify(self) -> Manifest:
        """Read it to the end. Raises Truncated, Altered, WrongPassphrase."""
        self._check_whole()
        self._sealer()
        digest, files, manifest = Digest(), dict[str, str](), None
        for chunk in self._chunks():
            if manifest is not None:
                raise self._altered("something stands behind its manifest")
            if isinstance(chunk, Part):
                files[chunk.name] = hashlib.sha256(chunk.data).hexdigest()
            elif isinstance(chunk, Batch):
                digest.add(_records(chunk))
            else:
                manifest = chunk
        if manifest is None or digest.manifest(files) != manifest:
            raise self._altered("its parts are not what its manifest says")
        return manifest

    def files(self) -> dict[str, bytes]:
        """All files of the cluster in it, by name."""
        return {chunk.name: chunk.data for chunk in self._chunks() if isinstance(chunk, Part)}

    def records(self) -> Iterator[Sequence[Record]]:
        """The store's records in the order of keys."""
        for chunk in self._chunks():
            if isinstance(chunk, Batch):
                yield _records(chunk)

    def _open(self) -> BinaryIO:
        try:
            return self.path.open("rb")
        except OSError as error:
            raise BackupError(f"cannot read {self.path}: {error.strerror}") from error

    def _check_whole(self) -> None:
        digest = hashlib.sha256()
        with self._open() as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _TRAILER))
            trailer = file.read()
            if size < self._start + _TRAILER or trailer[: 4 + len(_END)] != bytes(4) + _END:
                raise Truncated(f"{self.path} is truncated: its end is missing; copy it again from where it came from")
            left, block = size - hashlib.sha256().digest_size, b""
            file.seek(0)
            while left:
                block = file.read(min(left, 1024 * 1024))
                digest.update(block)
                left -= len(block)
        if digest.digest() != trailer[4 + len(_END) :]:
            raise self._altered("its bytes do not have the checksum at its end")

    def _sealer(self) -> Sealer:
        return sealer_of(self.head.sealing, self._passphrase, str(self.path), self._encoded_head)

    def _chunks(self) -> Iterator[Part | Batch | Manifest]:
        sealer = self._sealer()
        with self._open() as file:
            file.seek(self._start)
            while payload := _frame(file, str(self.path)):
                try:
                    chunk = _chunk.decode(zlib.decompress(sealer.open(payload)))
                except (zlib.error, msgspec.MsgspecError):
                    raise self._altered("a chunk of it cannot be read") from None
                yield chunk

    def _altered(self, how: str) -> Altered:
        return _altered(str(self.path), how)


def read_head(start: bytes, name: str) -> Head:
    """The head of a backup of which the first bytes are given. Raises BackupError."""
    return _read_head(io.BytesIO(start), name)[1]


def _read_head(file: IO[bytes], name: str) -> tuple[bytes, Head]:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise BackupError(f"{name} is no backup of Tiphys: its first bytes are others")
    payload = _frame(file, name)
    try:
        found = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
        version = msgspec.json.decode(found.get("format", b"0"))
        if version == FORMAT:
            return payload, msgspec.json.decode(payload, type=Head)
    except msgspec.MsgspecError:
        raise _altered(name, "its head cannot be read") from None
    raise BackupError(f"{name} has format {version}, this version reads {FORMAT}: use the one that wrote it")


def _frame(file: IO[bytes], name: str) -> bytes:
    size = int.from_bytes(file.read(4), "big")
    if size > _MOST:
        raise _altered(name, "a chunk of it would be larger than any is")
    payload = file.read(size)
    if len(payload) < size:
        raise Truncated(f"{name} is truncated: it ends in the middle of a chunk")
    return payload


def _altered(name: str, how: str) -> Altered:
    return Altered(f"{name} was altered or damaged: {how}; use another backup")


def _records(batch: Batch) -> list[Record]:
    return [Record(*fields) for fields in batch.records]
