"""The history that a cluster ships, read: its state at any kept moment, and what became of a key.

`read` gives what can be restored, or looked into, as of a revision or a time; `changes` every kept change of the keys
that are asked for, oldest first. Both take the destination's own word for nothing: archives are verified, frames have
checksums, and a gap between them is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from tiphys.main.backup.archive import Archive, Digest, Head, Manifest
from tiphys.main.backup.catalog import Base, Generation, generations
from tiphys.main.backup.destination import Destination
from tiphys.main.backup.seal import Altered, BackupError, Passphrase
from tiphys.main.backup.segment import Frame, Moment, frames
from tiphys.main.backup.times import stamp
from tiphys.store import Record, Revision


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a history: as of `revision`, or of `time` (seconds since the epoch), or the last one there is."""

    revision: Revision | None = None
    time: float | None = None

    def __str__(self) -> str:
        if self.revision is not None:
            return f"revision {self.revision}"
        return stamp(self.time) if self.time is not None else "any time"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a key, or its state where the history begins; no value means removed."""

    key: str
    revision: Revision
    time: float
    value: bytes | None


class NotKept(BackupError):
    """The history does not reach the point that was asked for."""


class Material(Protocol):
    """What can be restored: an archive, or a point of a history. Everything but `head` blocks."""

    @property
    def head(self) -> Head: ...

    def verify(self) -> Manifest: ...

    def files(self) -> dict[str, bytes]: ...

    def records(self) -> Iterator[Sequence[Record]]: ...


class Past:
    """The state at a point: a base with what came after it laid over. `head` tells revision and time of the point."""

    def __init__(self, archive: Archive, head: Head, over: dict[str, Record | None]) -> None:
        self._archive, self._head, self._over = archive, head, over

    @property
    def head(self) -> Head:
        return self._head

    def verify(self) -> Manifest:
        manifest = self._archive.verify()
        digest = Digest()
        for batch in self.records():
            digest.add(batch)
        return digest.manifest(manifest.files)

    def files(self) -> dict[str, bytes]:
        return self._archive.files()

    def records(self) -> Iterator[Sequence[Record]]:
        """In the order of keys."""
        over, present = self._over, set[str]()
        for batch in self._archive.records():
            present.update(record.key for record in batch if record.key in over)
        made = iter(sorted((r for r in over.values() if r and r.key not in present), key=_key))
        waiting = next(made, None)
        for batch in self._archive.records():
            found: list[Record] = []
            for record in batch:
                while waiting is not None and waiting.key < record.key:
                    found.append(waiting)
                    waiting = next(made, None)
                now = over.get(record.key, record)
                if now is not None:
                    found.append(now)
            yield found
        if waiting is not None:
            yield [waiting, *made]


def _key(record: Record) -> str:
    return record.key


async def read(destination: Destination, point: Point, scratch: Path, passphrase: Passphrase | None = None) -> Past:
    """The state at a point; `scratch` is a directory for the base. Raises NotKept, Altered."""
    generation, base = _choose(await generations(destination), point, destination)
    archive = await fetch(destination, base.name, scratch / f"base-{base.revision}", passphrase)
    reached, at, end, over = base.revision, archive.head.created, base.revision, dict[str, Record | None]()
    async for frame in walk(destination, generation, base.revision, passphrase):
        end = frame.last
        for moment in frame.moments:
            if point.time is not None and moment.time > point.time:
                continue
            for revision, key, value in moment.changes:
                if point.revision is None or revision <= point.revision:
                    over[key] = Record(key, value, revision, revision) if value is not None else None
                    reached, at = max(reached, revision), max(at, moment.time)
        if point.revision is not None and end >= point.revision:
            break
    if point.revision is not None and point.revision > end:
        raise NotKept(f"the history in {destination} has nothing between revision {end}, of {stamp(at)}, and {point}")
    return Past(archive, msgspec.structs.replace(archive.head, revision=reached, created=at), over)


def _choose(found: Sequence[Generation], point: Point, destination: Destination) -> tuple[Generation, Base]:
    """The last base that is not beyond the point, of the newest generation that has one."""
    for generation in reversed(found):
        bases = [base for base in generation.bases if not _beyond(point, base)]
        if bases:
            return generation, bases[-1]
    first = next((base for generation in found for base in generation.bases), None)
    if first is None:
        raise NotKept(f"there is no history in {destination}: nothing was shipped there yet")
    raise NotKept(
        f"the history in {destination} begins at revision {first.revision}, of {stamp(first.time)}: "
        f"{point} is before it"
    )


def _beyond(point: Point, base: Base) -> bool:
    if point.revision is not None:
        return base.revision > point.revision
    return point.time is not None and base.time > point.time


async def fetch(destination: Destination, name: str, path: Path, passphrase: Passphrase | None) -> Archive:
    """An archive of a destination, as the file `path`."""
    with path.open("wb") as file:
        async for block in destination.read(name):
            await asyncio.to_thread(file.write, block)
    return await asyncio.to_thread(Archive, path, passphrase)


async def walk(
    destination: Destination, generation: Generation, after: Revision, passphrase: Passphrase | None
) -> AsyncIterator[Frame]:
    """What came after a revision, in order and once, up to the end or to where only another base goes on."""
    for log in generation.logs_after(after):
        for frame in await log_frames(destination, log.name, passphrase):
            if frame.last <= after:
                continue
            if frame.after > after:
                if any(after < base.revision <= frame.after for base in generation.bases):
                    return
                raise Altered(
                    f"the history in {destination} lacks what came between revisions {after} and {frame.after}"
                )
            yield _behind(frame, after)
            after = frame.last


def _behind(frame: Frame, after: Revision) -> Frame:
    """The part of a frame that another writer has not told already."""
    if frame.after == after:
        return frame
    moments = [
        Moment(moment.time, [change for change in moment.changes if change[0] > after]) for moment in frame.moments
    ]
    return Frame(after, frame.last, moments)


async def log_frames(destination: Destination, name: str, passphrase: Passphrase | None) -> list[Frame]:
    """All frames of a segment, which is small."""
    blocks = [block async for block in destination.read(name)]
    return await asyncio.to_thread(lambda: list(frames(blocks, passphrase, f"{destination}/{name}")))


async def end_of(
    destination: Destination, generation: Generation, passphrase: Passphrase | None
) -> tuple[Revision, float]:
    """Up to which revision a generation that has a base reaches, and when that was shipped."""
    base = generation.bases[-1]
    logs = generation.logs_after(base.revision)
    # Who begins a segment after a revision has shipped all up to it; the last two may be of two writers at once.
    position, at = max([base.revision, *(log.after for log in logs)]), base.time
    for log in logs[-2:]:
        for frame in await log_frames(destination, log.name, passphrase):
            if frame.after <= position:
                position = max(position, frame.last)
                at = max(at, *(moment.time for moment in frame.moments))
    return position, at


async def changes(
    destination: Destination, matches: Callable[[str], bool], scratch: Path, passphrase: Passphrase | None = None
) -> AsyncIterator[Change]:
    """What became of the keys for which `matches` is true, the oldest change first."""
    known: dict[str, bytes] = {}
    for generation in await generations(destination):
        position = 0
        for base in generation.bases:
            if base.revision <= position:
                continue
            archive = await fetch(destination, base.name, scratch / f"base-{base.revision}", passphrase)
            for change in await asyncio.to_thread(_differences, archive, base, matches, known):
                yield _noted(change, known)
            archive.path.unlink()
            position = base.revision
            async for frame in walk(destination, generation, position, passphrase):
                for moment in frame.moments:
                    for revision, key, value in moment.changes:
                        if matches(key):
                            yield _noted(Change(key, revision, moment.time, value), known)
                position = frame.last


def _noted(change: Change, known: dict[str, bytes]) -> Change:
    if change.value is None:
        known.pop(change.key, None)
    else:
        known[change.key] = change.value
    return change


def _differences(archive: Archive, base: Base, matches: Callable[[str], bool], known: dict[str, bytes]) -> list[Change]:
    """What a base tells that was not known: all at the beginning, later what happened while nothing was shipped."""
    found, gone = [], set(known)
    for batch in archive.records():
        for record in batch:
            if matches(record.key):
                gone.discard(record.key)
                if known.get(record.key) != record.value:
                    found.append(Change(record.key, record.revision, base.time, record.value))
    return [*(Change(key, base.revision, base.time, None) for key in sorted(gone)), *found]
