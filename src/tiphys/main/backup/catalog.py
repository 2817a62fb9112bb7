"""What stands at a destination: the history in generations of bases and segments, and full backups beside it.

    history/GENERATION/base-REVISION-TIME.tiphys-backup    the state as of a revision; an archive like any other
    history/GENERATION/log-REVISION-WRITER                 what came after it (see `segment`)
    backups/CLUSTER-TIME.tiphys-backup                     full backups on schedule

Names tell all that is needed to choose. A generation ends where the store was found behind its own history, as when
somebody put an old file in its place: the newer one is another past.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from tiphys.main.backup.archive import SUFFIX
from tiphys.main.backup.destination import Destination, Item
from tiphys.store import Revision

HISTORY, BACKUPS = "history/", "backups/"
_BASE = re.compile(r"history/(\d{4})/base-(\d{16})-(\d{10})" + re.escape(SUFFIX))
_LOG = re.compile(r"history/(\d{4})/log-(\d{16})-([0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class Base:
    """The state as of `revision`, taken at `time` (seconds since the epoch)."""

    name: str
    size: int
    revision: Revision
    time: float


@dataclass(frozen=True, slots=True)
class Log:
    """Changes after a revision."""

    name: str
    size: int
    after: Revision


@dataclass(slots=True)
class Generation:
    """Both in the order of revisions."""

    number: int
    bases: list[Base] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(base.size for base in self.bases) + sum(log.size for log in self.logs)

    @property
    def names(self) -> list[str]:
        """Of all its files."""
        return [*(base.name for base in self.bases), *(log.name for log in self.logs)]

    def logs_after(self, revision: Revision) -> list[Log]:
        """Those that may hold changes after a revision: also of another writer, which began before the last base."""
        bases = [base.revision for base in self.bases if base.revision <= revision]
        return self.logs_from(bases[-2] if len(bases) > 1 else 0)

    def logs_from(self, revision: Revision) -> list[Log]:
        """The one that was written at a revision, and those after it."""
        first = max((log.after for log in self.logs if log.after <= revision), default=revision)
        return [log for log in self.logs if log.after >= first]


def base_name(generation: int, revision: Revision, time: float) -> str:
    return f"{HISTORY}{generation:04}/base-{revision:016}-{int(time):010}{SUFFIX}"


def log_name(generation: int, after: Revision, writer: str) -> str:
    return f"{HISTORY}{generation:04}/log-{after:016}-{writer}"


async def generations(destination: Destination) -> list[Generation]:
    """The history, the oldest generation first."""
    return read(await destination.list(HISTORY))


def read(items: Sequence[Item]) -> list[Generation]:
    found: dict[int, Generation] = {}
    for item in items:
        if match := _BASE.fullmatch(item.name):
            base = Base(item.name, item.size, int(match[2]), float(match[3]))
            found.setdefault(int(match[1]), Generation(int(match[1]))).bases.append(base)
        elif match := _LOG.fullmatch(item.name):
            log = Log(item.name, item.size, int(match[2]))
            found.setdefault(int(match[1]), Generation(int(match[1]))).logs.append(log)
    for generation in found.values():
        generation.bases.sort(key=lambda base: base.revision)
        generation.logs.sort(key=lambda log: (log.after, log.name))
    return [found[number] for number in sorted(found)]


def superfluous(found: Sequence[Generation], now: float, keep: float, keep_bytes: int) -> list[str]:
    """What need not be kept to go back to any moment of the last `keep` seconds, in at most `keep_bytes` (0: any).

    The newest base and what came after it always stay.
    """
    bases = [(generation, base) for generation in found for base in generation.bases]
    if not bases:
        return []
    sizes = {base.name: base.size for _, base in bases} | {log.name: log.size for each in found for log in each.logs}
    first = max((n for n, (_, base) in enumerate(bases) if base.time <= now - keep), default=0)
    while True:
        generation, base = bases[first]
        kept = {log.name for log in generation.logs_from(base.revision)}
        kept |= {other.name for later, other in bases[first:]}
        kept |= {log.name for later in found if later.number > generation.number for log in later.logs}
        size = sum(size for name, size in sizes.items() if name in kept)
        if not keep_bytes or size <= keep_bytes or first == len(bases) - 1:
            return [name for name in sizes if name not in kept]
        first += 1
