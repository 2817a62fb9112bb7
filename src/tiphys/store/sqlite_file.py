"""The file of the SQLite driver: its tables, how connections are opened, every read, and what its errors mean.

`log` has one row per write, kept until compaction (kine's idea): key, revision, `created`, `previous` (the revision
that it replaced, 0 for none) and the value, NULL for a deletion. `current` maps each live key to its row, so present
reads are one index range; a read in the past is `current` with the changes since then undone, which costs what
changed and needs no second index to keep up on every write.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tiphys.store.protocol import Compacted, Event, Page, Record, Revision, Unavailable

APPLICATION_ID = 0x54504853
FORMAT = 1
# Greater than every character that a key holds: `prefix + LAST` ends the range of a prefix.
LAST = "\U0010ffff"

_SCHEMA = """
CREATE TABLE log (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, created INTEGER NOT NULL,
                  previous INTEGER NOT NULL, value BLOB) STRICT;
CREATE TABLE current (key TEXT PRIMARY KEY, revision INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE meta (compacted INTEGER NOT NULL, swept INTEGER NOT NULL) STRICT;
INSERT INTO meta VALUES (0, 0);
"""

_GET = """
SELECT log.key, log.value, log.revision, log.created
FROM current JOIN log ON log.revision = current.revision WHERE current.key = ?
"""
_LIST_NOW = """
SELECT log.key, log.value, log.revision, log.created
FROM (SELECT key, revision FROM current WHERE key >= :start AND key > :after AND key < :end ORDER BY key LIMIT :limit) p
JOIN log ON log.revision = p.revision ORDER BY p.key
"""
_COUNT_NOW = "SELECT count(*) FROM current WHERE key >= :start AND key > :after AND key < :end"
# What stood at :revision is what stands unchanged since, and what the first later change of a key replaced.
_STOOD = """
WITH first AS (
  SELECT key, min(revision) AS revision FROM log
  WHERE revision > :revision AND +key >= :start AND +key > :after AND +key < :end GROUP BY key
), stood AS (
  SELECT key, revision FROM current
  WHERE key >= :start AND key > :after AND key < :end AND revision <= :revision
  UNION ALL
  SELECT log.key, log.previous FROM first JOIN log ON log.revision = first.revision WHERE log.previous > 0
)
"""
_LIST_THEN = """
SELECT log.key, log.value, log.revision, log.created
FROM (SELECT key, revision FROM stood ORDER BY key LIMIT :limit) p JOIN log ON log.revision = p.revision ORDER BY p.key
"""
_COUNT_THEN = "SELECT count(*) FROM stood"
_REPLAY = """
SELECT e.key, e.revision, e.value, p.value, p.revision, p.created
FROM log e LEFT JOIN log p ON p.revision = e.previous
WHERE e.revision > :after AND e.revision <= :until AND +e.key >= :start AND +e.key < :end
ORDER BY e.revision LIMIT :limit
"""


def lock(path: Path) -> int:
    """Take the file for this process: the descriptor that holds the lock. Raises Unavailable when another has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise Unavailable(f"{path} is in use by another process: stop that server first") from error
    return descriptor


def prepare(path: Path) -> sqlite3.Connection:
    """The writer's connection to the file, made if missing. Raises Unavailable when it is damaged or foreign."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = connect(path, cache_kib=4096)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 33554432")
        _check_format(path, connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise unavailable(path, error) from error
    except Unavailable:
        connection.close()
        raise
    return connection


def _check_format(path: Path, connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if not application and not tables:
        connection.executescript(
            f"BEGIN IMMEDIATE; {_SCHEMA}"
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; COMMIT"
        )
    elif application != APPLICATION_ID:
        raise Unavailable(f"{path} is a SQLite file of another program: choose another path for the store")
    elif found != FORMAT:
        raise Unavailable(f"{path} has format {found}, this version reads {FORMAT}: run the version that wrote it")


def connect(path: Path, *, cache_kib: int = 1024) -> sqlite3.Connection:
    """A connection in autocommit mode that may move between threads, used by one at a time."""
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA cache_size = -{cache_kib}")
    return connection


def unavailable(path: Path, error: sqlite3.Error) -> Unavailable:
    """What an error of SQLite means to the caller, and what to do about it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return Unavailable(f"nothing was written, the disk is full: free space under {path.parent}")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Unavailable(
            f"{path} is damaged ({error}): stop the server and restore the last backup with `tiphys restore FILE`"
        )
    if code == sqlite3.SQLITE_IOERR:
        return Unavailable(f"the disk under {path.parent} fails ({error}): check its space and the kernel log")
    return Unavailable(f"{path}: {error}")


def revisions(connection: sqlite3.Connection) -> tuple[Revision, Revision]:
    """The current and the compacted revision. An empty store is at 1, as etcd's is: 0 means "any" in the API above."""
    current, compacted = connection.execute("SELECT (SELECT max(revision) FROM log), compacted FROM meta").fetchone()
    return current or 1, compacted


def get(connection: sqlite3.Connection, key: str) -> Record | None:
    row = connection.execute(_GET, (key,)).fetchone()
    return Record(*row) if row else None


def rows(connection: sqlite3.Connection, prefix: str, after: str, limit: int) -> Sequence[Record]:
    """What the connection's transaction sees under a prefix, after a key; at most `limit` (0: all)."""
    bounds = {"start": prefix, "after": after, "end": prefix + LAST, "limit": limit or -1}
    return [Record(*row) for row in connection.execute(_LIST_NOW, bounds)]


@dataclass(frozen=True, slots=True)
class Range:
    """What a read covers: keys under `prefix` and after `after`, at most `limit` (0: all), at `revision` (0: now)."""

    prefix: str
    after: str = ""
    limit: int = 0
    revision: Revision = 0


def read(connection: sqlite3.Connection, wanted: Range) -> Page:
    """One consistent page, from one read transaction. Raises Compacted."""
    connection.execute("BEGIN")
    try:
        now, compacted = revisions(connection)
        revision = wanted.revision or now
        if revision < compacted:
            raise Compacted(revision, compacted)
        bounds = {"start": wanted.prefix, "after": wanted.after, "end": wanted.prefix + LAST, "revision": revision}
        bounds["limit"] = wanted.limit + 1 if wanted.limit else -1
        past = revision < now
        rows = connection.execute(_STOOD + _LIST_THEN if past else _LIST_NOW, bounds).fetchall()
        if not wanted.limit or len(rows) <= wanted.limit:
            return Page([Record(*row) for row in rows], revision)
        rows.pop()
        bounds["after"] = rows[-1][0]
        (remaining,) = connection.execute(_STOOD + _COUNT_THEN if past else _COUNT_NOW, bounds).fetchone()
        return Page([Record(*row) for row in rows], revision, True, remaining)
    finally:
        # An I/O error may have ended the transaction already.
        if connection.in_transaction:
            connection.execute("COMMIT")


def replay(
    connection: sqlite3.Connection, prefix: str, after: Revision, until: Revision, limit: int
) -> Sequence[Event]:
    """The first `limit` events under `prefix` above `after` and up to `until`. Raises Compacted."""
    connection.execute("BEGIN")
    try:
        _, compacted = revisions(connection)
        if after < compacted:
            raise Compacted(after, compacted)
        bounds = {"after": after, "until": until, "start": prefix, "end": prefix + LAST, "limit": limit}
        return [_event(*row) for row in connection.execute(_REPLAY, bounds)]
    finally:
        # An I/O error may have ended the transaction already.
        if connection.in_transaction:
            connection.execute("COMMIT")


def _event(
    key: str, revision: Revision, value: bytes | None, previous: bytes | None, replaced: Revision, created: Revision
) -> Event:
    return Event(key, revision, value, Record(key, previous, replaced, created) if previous is not None else None)


def snapshot(source: Path, target: Path) -> Revision:
    """Copy what is committed now into the new file `target`, compactly and durably; blocks no writer."""
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        connection = connect(source)
        try:
            connection.execute("VACUUM INTO ?", (str(target),))
        finally:
            connection.close()
        _sync(target)
        _sync(target.parent)
        copy = connect(target)
        try:
            return revisions(copy)[0]
        finally:
            copy.close()
    except (sqlite3.Error, OSError) as error:
        target.unlink(missing_ok=True)
        if isinstance(error, sqlite3.Error):
            raise unavailable(target, error) from error
        raise Unavailable(f"cannot write the snapshot {target}: {error}") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
