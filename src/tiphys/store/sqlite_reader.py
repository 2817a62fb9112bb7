"""A SQLite store that another process serves, or none, read by this one: one snapshot, held while it is open.

It takes no lock and writes nothing; the server's writes go on beside it (WAL). What only a server can do is refused.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NoReturn, Self

from tiphys.store import sqlite_file
from tiphys.store.protocol import ANY, Event, Page, Record, Revision, Unavailable


class SqliteReader:
    """Implements the reading half of `Store`. Made by `open`; calls take turns."""

    def __init__(self, path: Path, connection: sqlite3.Connection, revision: Revision) -> None:
        self._path, self._connection, self._revision = path, connection, revision

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Raises Unavailable where there is no store, or a damaged one."""
        if not await asyncio.to_thread(path.exists):
            raise Unavailable(f"{path} does not exist")
        return await asyncio.to_thread(cls._open, path)

    @classmethod
    def _open(cls, path: Path) -> Self:
        try:
            connection = sqlite_file.connect(path)
            connection.execute("PRAGMA query_only = 1")
            connection.execute("BEGIN")
            return cls(path, connection, sqlite_file.revisions(connection)[0])
        except sqlite3.Error as error:
            raise sqlite_file.unavailable(path, error) from error

    @property
    def revision(self) -> Revision:
        return self._revision

    async def current(self) -> Revision:
        return self._revision

    async def get(self, key: str) -> Record | None:
        try:
            return await asyncio.to_thread(sqlite_file.get, self._connection, key)
        except sqlite3.Error as error:
            raise sqlite_file.unavailable(self._path, error) from error

    async def list(self, prefix: str, *, after: str = "", limit: int = 0, revision: Revision = 0) -> Page:
        if revision not in (0, self._revision):
            self._refuse()
        try:
            rows = await asyncio.to_thread(sqlite_file.rows, self._connection, prefix, after, limit)
        except sqlite3.Error as error:
            raise sqlite_file.unavailable(self._path, error) from error
        # What remains is not counted: nobody who reads a snapshot asks.
        return Page(rows, self._revision, bool(limit) and len(rows) == limit)

    async def put(self, key: str, value: bytes, expect: Revision = ANY) -> Revision:
        self._refuse()

    async def delete(self, key: str, expect: Revision = ANY) -> Revision:
        self._refuse()

    def watch(self, prefix: str, *, after: Revision) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Event]]]:
        self._refuse()

    async def compact(self, revision: Revision) -> None:
        self._refuse()

    async def snapshot(self, path: Path) -> Revision:
        self._refuse()

    async def fill(self, records: AsyncIterable[Sequence[Record]], revision: Revision) -> Revision:
        self._refuse()

    async def close(self) -> None:
        await asyncio.to_thread(self._connection.close)

    def _refuse(self) -> NoReturn:
        raise Unavailable(f"{self._path} is open for reading one snapshot only")
