"""A piece of a cluster's history between two bases: a file that grows by a frame with every flush.

    tiphys-history\n | length, CRC, head (JSON) | length, CRC, frame | ...

A frame says after which revision it goes on and up to which it reaches, so that a gap is seen. Frames are one stream to
the compressor: an object that changes a little costs a little. A torn last frame is how a crash looks; what stands
before it counts, and the next writer goes on from there in a file of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from tiphys.main.backup.seal import Altered, BackupError, Passphrase, Sealing, sealer_of
from tiphys.store import Revision

FORMAT = 1
_MAGIC = b"tiphys-history\n"
_FRAME = 8
_MOST = 256 * 1024 * 1024


class SegmentHead(msgspec.Struct, frozen=True):
    cluster: str
    uid: str
    format: int = FORMAT
    sealing: Sealing | None = None


class Moment(msgspec.Struct, frozen=True, array_like=True):
    """Changes that were seen together, as (revision, key, value); no value means removed. `time` since the epoch."""

    time: float
    changes: list[tuple[int, str, bytes | None]]


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """Goes on after revision `after` and reaches `last`: in between, nothing is missing but what was overwritten."""

    after: int
    last: int
    moments: list[Moment]


_frames = msgspec.msgpack.Decoder(Frame)


class SegmentWriter:
    """Makes the bytes to append; the first have the head before them."""

    def __init__(self, head: SegmentHead, passphrase: Passphrase | None, name: str) -> None:
        head = msgspec.structs.replace(head, sealing=passphrase.sealing() if passphrase else None)
        encoded = msgspec.json.encode(head)
        self._before = _MAGIC + _framed(encoded)
        self._sealer = sealer_of(head.sealing, passphrase, name, encoded)
        self._compressor = zlib.compressobj(1)

    def frame(self, after: Revision, last: Revision, moments: list[Moment]) -> bytes:
        packed = msgspec.msgpack.encode(Frame(after, last, moments))
        data = self._compressor.compress(packed) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        before, self._before = self._before, b""
        return before + _framed(self._sealer.seal(data))


def _framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + zlib.crc32(payload).to_bytes(4, "big") + payload


@dataclass(slots=True)
class _Buffer:
    """Blocks as they come, taken as asked for."""

    blocks: Iterator[bytes]
    data: bytes = b""

    def take(self, size: int) -> bytes:
        """Fewer than `size` bytes only at the end."""
        if len(self.data) < size:
            found = [self.data]
            have = len(self.data)
            while have < size and (block := next(self.blocks, b"")):
                found.append(block)
                have += len(block)
            self.data = b"".join(found)
        taken, self.data = self.data[:size], self.data[size:]
        return taken


def frames(blocks: Iterable[bytes], passphrase: Passphrase | None, name: str) -> Iterator[Frame]:
    """The whole frames of a segment. Raises Altered, WrongPassphrase, and BackupError for what is none of ours."""
    buffer = _Buffer(iter(blocks))
    magic = buffer.take(len(_MAGIC))
    if magic != _MAGIC:
        if _MAGIC.startswith(magic):
            return
        raise BackupError(f"{name} is no piece of a history of Tiphys")
    encoded = _payload(buffer, name)
    if encoded is None:
        return
    sealer = sealer_of(_head(encoded, name).sealing, passphrase, name, encoded)
    decompressor = zlib.decompressobj()
    while (payload := _payload(buffer, name)) is not None:
        try:
            yield _frames.decode(decompressor.decompress(sealer.open(payload)))
        except (zlib.error, msgspec.MsgspecError):
            raise Altered(f"{name} was altered or damaged: a frame of it cannot be read") from None


def _head(encoded: bytes, name: str) -> SegmentHead:
    try:
        head = msgspec.json.decode(encoded, type=SegmentHead)
    except msgspec.MsgspecError:
        raise Altered(f"{name} was altered or damaged: its head cannot be read") from None
    if head.format != FORMAT:
        raise BackupError(f"{name} has format {head.format}, this version reads {FORMAT}: use the one that wrote it")
    return head


def _payload(buffer: _Buffer, name: str) -> bytes | None:
    """The next payload; None at the end, or where the last one is torn."""
    start = buffer.take(_FRAME)
    size = int.from_bytes(start[:4], "big")
    if size > _MOST:
        raise Altered(f"{name} was altered or damaged: a frame of it would be larger than any is")
    payload = buffer.take(size)
    if len(start) < _FRAME or len(payload) < size:
        return None
    if zlib.crc32(payload).to_bytes(4, "big") == start[4:]:
        return payload
    if buffer.take(1):
        raise Altered(f"{name} was altered or damaged: a frame of it has another checksum")
    # The last frame, whose bytes were not all on the disk when the machine died.
    return None
