"""Ships every committed revision of a store to a destination within about a second, as bases and what came after them.

It follows the store like any watcher; while nothing is written, nothing wakes up. After a flush it rests for an
interval, so a flush carries what came meanwhile. Renewals of leases cause no flush and wait for the next change of
something else: what they say is worth nothing to whoever restores. What was shipped is known from the destination
alone, so another server, or this one after a crash, goes on where it ends; several at once write the same history
twice, which readers do not mind. Where the store no longer reaches back that far, a new base begins.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.main.backup import catalog
from tiphys.main.backup.archive import Head, read_head
from tiphys.main.backup.destination import Destination
from tiphys.main.backup.history import end_of
from tiphys.main.backup.seal import BackupError, Passphrase
from tiphys.main.backup.segment import Moment, SegmentHead, SegmentWriter
from tiphys.store import Compacted, Event, FutureRevision, Revision, Store

_log = Log("backup")
_LEASES = "/registry/coordination.k8s.io/leases/"
# Renewals that may wait, and bytes in a segment before the next one begins.
_RENEWALS, _SEGMENT = 1000, 1024 * 1024
# A base is taken anew once what came after the last one is larger than it, and than this.
_BASE_BYTES = 8 * 1024 * 1024

WriteBase = Callable[[Path], Awaitable[Head]]


@dataclass(frozen=True, slots=True)
class Policy:
    """In seconds: the rest after a flush, the age at which a base is replaced, how far back to keep; in bytes: room."""

    interval: float = 0.5
    base_every: float = 6 * 3600.0
    keep: float = 7 * 86400.0
    keep_bytes: int = 0


def _nobody(problem: str) -> None:
    """Takes reports where nobody wants them."""


def _is_renewal(event: Event) -> bool:
    """Of a lease, which says no more than that its holder lives."""
    return event.key.startswith(_LEASES) and event.value is not None and event.previous is not None


class Shipper:
    """`run` under a supervisor, on one server at a time; `write_base` makes a backup of the cluster at a path."""

    def __init__(
        self, store: Store, destination: Destination, identity: SegmentHead, write_base: WriteBase, clock: Clock,
        *, policy: Policy | None = None, passphrase: Passphrase | None = None, scratch: Path | None = None,
        report: Callable[[str], None] = _nobody,
    ) -> None:  # fmt: skip
        self._store, self._destination, self._identity = store, destination, identity
        self._write_base, self._clock, self._policy = write_base, clock, policy or Policy()
        self._passphrase, self._scratch, self._report = passphrase, scratch, report
        self._backoff = Backoff(0.5, 60.0)
        # Why it does not go on, if it does not; `report` is told whenever that changes.
        self._problem = ""
        self._generation = 1
        self._base_time, self._base_size, self._since_base = 0.0, 0, 0
        # The segment that is written now, and how large it is.
        self._segment: tuple[str, SegmentWriter] | None = None
        self._size = 0
        self._renewals: dict[str, Moment] = {}
        # The revision up to which all is at the destination.
        self.shipped: Revision = 0

    async def run(self) -> None:
        """For ever; where the destination cannot be reached, again and again."""
        failures, before = 0, self.shipped
        while True:
            try:
                await self._run()
            except BackupError as error:
                failures = 0 if self.shipped != before else failures + 1
                before = self.shipped
                self._say(str(error))
                _log.warning("nothing can be shipped now", reason=str(error), shipped=self.shipped)
                await self._clock.sleep(self._backoff.delay(failures))

    async def _run(self) -> None:
        position = await self._resume()
        while True:
            if position is None:
                position = await self._begin()
            position = await self._follow(position)

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._report(problem)

    async def _follow(self, position: Revision) -> Revision | None:
        """Ship what comes after a revision; how far it came when the store lost us, None where it forgot that place."""
        begun = False
        # What another server has shipped may be ahead of what this one was shown.
        await self._store.current()
        try:
            async with self._store.watch("/", after=position) as batches:
                begun = True
                self.shipped = position
                async for events in batches:
                    if await self._ship(events):
                        await self._after_flush()
                        await self._clock.sleep(self._policy.interval)
        except Compacted:
            return self.shipped if begun else None
        except FutureRevision as error:
            _log.warning("the store is behind its history: a new one begins", shipped=position, store=error.current)
            self._generation += 1
            return None
        return self.shipped

    async def _ship(self, events: Sequence[Event]) -> bool:
        """Append a frame with these events; False where they can wait."""
        now = self._clock.time()
        if len(self._renewals) < _RENEWALS and all(map(_is_renewal, events)):
            for event in events:
                self._renewals[event.key] = Moment(now, [(event.revision, event.key, event.value)])
            return False
        waiting = sorted(self._renewals.values(), key=lambda moment: moment.changes[0][0])
        moments = [*waiting, Moment(now, [(event.revision, event.key, event.value) for event in events])]
        await self._append(events[-1].revision, moments)
        self._renewals.clear()
        return True

    async def _append(self, last: Revision, moments: list[Moment]) -> None:
        name, writer = self._segment or self._new_segment()
        frame = await asyncio.to_thread(writer.frame, self.shipped, last, moments)
        try:
            await self._destination.append(name, frame)
        except BaseException:
            # A part of the frame may be there: what comes next stands in a segment of its own.
            self._segment = None
            raise
        self.shipped = last
        self._say("")
        self._size += len(frame)
        self._since_base += len(frame)

    def _new_segment(self) -> tuple[str, SegmentWriter]:
        name = catalog.log_name(self._generation, self.shipped, secrets.token_hex(4))
        self._segment, self._size = (name, SegmentWriter(self._identity, self._passphrase, name)), 0
        return self._segment

    async def _after_flush(self) -> None:
        old = self._clock.time() - self._base_time > self._policy.base_every
        if old or self._since_base > max(_BASE_BYTES, self._base_size):
            await self._begin()
        elif self._size > _SEGMENT:
            await self._settle()

    async def _settle(self) -> None:
        if self._segment is not None:
            name, _ = self._segment
            self._segment = None
            await self._destination.settle(name)

    async def _begin(self) -> Revision:
        """Write a new base and throw away what it makes superfluous; its revision."""
        await self._settle()
        with tempfile.TemporaryDirectory(prefix="tiphys-base-", dir=self._scratch) as directory:
            path = Path(directory) / "base"
            head = await self._write_base(path)
            self._base_size = path.stat().st_size
            await self._destination.put(catalog.base_name(self._generation, head.revision, head.created), path)
        self._base_time, self._since_base = head.created, 0
        await self._prune()
        self._say("")
        return head.revision

    async def _prune(self) -> None:
        found = await catalog.generations(self._destination)
        policy = self._policy
        for name in catalog.superfluous(found, self._clock.time(), policy.keep, policy.keep_bytes):
            await self._destination.delete(name)

    async def _resume(self) -> Revision | None:
        """Up to where the destination has the history; None where it has none that this store goes on from."""
        found = await catalog.generations(self._destination)
        if not found:
            return None
        last = found[-1]
        self._generation = last.number
        if not last.bases:
            return None
        await self._check_ours(last.bases[-1])
        base = last.bases[-1]
        self._base_time, self._base_size = base.time, base.size
        logs = last.logs_from(base.revision)
        self._since_base = sum(log.size for log in logs)
        for log in logs[-2:]:
            await self._destination.settle(log.name)
        return (await end_of(self._destination, last, self._passphrase))[0]

    async def _check_ours(self, base: catalog.Base) -> None:
        start = b""
        async for block in self._destination.read(base.name):
            start = block
            break
        head = read_head(start, base.name)
        if head.uid and self._identity.uid and head.uid != self._identity.uid:
            raise BackupError(
                f"{self._destination} holds the history of another cluster ({head.cluster!r}, UID {head.uid}): "
                f"`tiphys backup configure {self._identity.cluster} --to DEST` with a place of its own"
            )
