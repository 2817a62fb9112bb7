"""What a server runs for backups: the shipper, and full backups on schedule, as configured.

One of several servers runs it, the one that leads. `reload` (the server's SIGHUP) makes it read its settings again.
"""

from __future__ import annotations

import asyncio
import calendar
import re
import shutil
import tempfile
import time
from pathlib import Path

from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.base.tasks import Supervisor
from tiphys.main.backup import settings as configured
from tiphys.main.backup import source
from tiphys.main.backup.archive import SUFFIX, Head
from tiphys.main.backup.catalog import BACKUPS
from tiphys.main.backup.destination import Destination, Item
from tiphys.main.backup.seal import BackupError, Passphrase
from tiphys.main.backup.segment import SegmentHead
from tiphys.main.backup.settings import BackupSettings
from tiphys.main.backup.shipper import Policy, Shipper
from tiphys.main.cluster import Cluster
from tiphys.store import Store

_log = Log("backup")
_STAMP = "%Y%m%dT%H%M%SZ"
_FULL = re.compile(r"(?:.*/)?(?P<cluster>[a-z0-9-]+)-(?P<stamp>\d{8}T\d{6}Z)" + re.escape(SUFFIX))


def archive_name(cluster: str, when: float) -> str:
    return f"{cluster}-{time.strftime(_STAMP, time.gmtime(when))}{SUFFIX}"


def made_at(item: Item) -> float | None:
    """When a full backup was made, in seconds since the epoch, by its name; None for other files."""
    match = _FULL.fullmatch(item.name)
    try:
        return float(calendar.timegm(time.strptime(match["stamp"], _STAMP))) if match else None
    except ValueError:
        return None


async def full_backups(destination: Destination) -> list[tuple[float, Item]]:
    """The oldest first."""
    found = [(made_at(item), item) for item in await destination.list(BACKUPS)]
    return sorted(((when, item) for when, item in found if when is not None), key=lambda pair: pair[0])


def problem_file(cluster: Cluster) -> Path:
    """Where a server says why nothing is backed up just now; there is none while all is well."""
    return cluster.run / "backup-problem"


class Backups:
    """`run` under a supervisor, on one server at a time."""

    def __init__(self, cluster: Cluster, store: Store, clock: Clock) -> None:
        self._cluster, self._store, self._clock = cluster, store, clock
        self._changed = asyncio.Event()

    def reload(self) -> None:
        self._changed.set()

    async def run(self) -> None:
        while True:
            self._changed.clear()
            try:
                self._report("")
                await self._run_as_configured()
            except BackupError as error:
                self._report(str(error))
                _log.error("backups are off until they are configured anew", reason=str(error))
                await self._changed.wait()

    async def _run_as_configured(self) -> None:
        wanted = configured.load(self._cluster)
        destination = configured.destination_of(self._cluster, wanted)
        passphrase = await asyncio.to_thread(configured.passphrase_of, wanted)
        scratch = await asyncio.to_thread(_new_scratch, self._cluster)
        try:
            async with Supervisor(self._clock) as supervisor:
                if wanted.continuous:
                    shipper = await self._new_shipper(wanted, destination, passphrase, scratch)
                    supervisor.start("continuous backup", shipper.run)
                if wanted.every:
                    schedule = _Schedule(self, wanted, destination, passphrase, scratch)
                    supervisor.start("scheduled backups", schedule.run)
                await self._changed.wait()
        finally:
            await destination.close()

    async def _new_shipper(
        self, wanted: BackupSettings, destination: Destination, passphrase: Passphrase | None, scratch: Path
    ) -> Shipper:
        identity = SegmentHead(self._cluster.name, await source.uid_of(self._store))
        policy = Policy(wanted.interval, keep=wanted.keep, keep_bytes=wanted.keep_bytes)

        async def write_base(path: Path) -> Head:
            return await self.write(path, passphrase)

        return Shipper(
            self._store, destination, identity, write_base, self._clock,
            policy=policy, passphrase=passphrase, scratch=scratch, report=self._report,
        )  # fmt: skip

    def _report(self, problem: str) -> None:
        """Leave it where `tiphys status` finds it."""
        path = problem_file(self._cluster)
        if problem:
            path.write_text(problem)
        else:
            path.unlink(missing_ok=True)

    async def write(self, path: Path, passphrase: Passphrase | None) -> Head:
        head, _ = await source.write(self._cluster, self._store, path, passphrase, clock=self._clock)
        return head

    @property
    def name(self) -> str:
        return self._cluster.name

    @property
    def clock(self) -> Clock:
        return self._clock


class _Schedule:
    """Full backups, each `every` seconds after the last one that the destination has."""

    def __init__(
        self, backups: Backups, wanted: BackupSettings, destination: Destination, passphrase: Passphrase | None,
        scratch: Path,
    ) -> None:  # fmt: skip
        self._backups, self._wanted, self._destination = backups, wanted, destination
        self._passphrase, self._scratch = passphrase, scratch

    async def run(self) -> None:
        clock = self._backups.clock
        while True:
            made = await full_backups(self._destination)
            due = made[-1][0] + self._wanted.every if made else 0.0
            if (wait := due - clock.time()) > 0:
                await clock.sleep(wait)
                continue
            with tempfile.TemporaryDirectory(dir=self._scratch) as directory:
                path = Path(directory) / "full"
                head = await self._backups.write(path, self._passphrase)
                name = BACKUPS + archive_name(self._backups.name, head.created)
                await self._destination.put(name, path)
            _log.info("backup written", destination=str(self._destination), name=name, revision=head.revision)
            for when, item in made:
                if when < head.created - self._wanted.keep:
                    await self._destination.delete(item.name)


def _new_scratch(cluster: Cluster) -> Path:
    """An empty directory beside the state, without what a crash may have left in it."""
    path = cluster.state / "backup-scratch"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700, parents=True)
    return path
