"""What a backup is made of: the records of a store as of one revision, and the files of a cluster beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import msgspec

from tiphys.base.clock import Clock, SystemClock
from tiphys.main.backup.archive import Head, Manifest, Writer
from tiphys.main.backup.seal import BackupError, Passphrase
from tiphys.main.cluster import Cluster
from tiphys.store import Record, Revision, Store, StoreError

_PAGE = 500
# Every cluster has this namespace, and its UID is the cluster's.
_SYSTEM = "/registry/core/namespaces/kube-system"
# Directories and files below the state directory that a backup holds.
_DIRECTORIES, _FILES = ("pki", "encryption"), ("cluster.json", "backup.json")


class _Meta(msgspec.Struct):
    uid: str = ""


class _Object(msgspec.Struct):
    metadata: _Meta


async def records_of(store: Store) -> tuple[Revision, AsyncIterator[Sequence[Record]]]:
    """A store's revision now, and its records as of that revision, page by page."""
    first = await store.list("/", limit=_PAGE)

    async def pages() -> AsyncIterator[Sequence[Record]]:
        page = first
        while page.records:
            yield page.records
            if not page.more:
                return
            page = await store.list("/", after=page.records[-1].key, limit=_PAGE, revision=first.revision)

    return first.revision, pages()


async def uid_of(store: Store) -> str:
    """The cluster's UID; empty before its first server has run."""
    found = await store.get(_SYSTEM)
    return uid_in(found) if found else ""


def uid_in(record: Record) -> str:
    return msgspec.json.decode(record.value, type=_Object).metadata.uid if record.key == _SYSTEM else ""


def files_of(cluster: Cluster) -> dict[str, bytes]:
    """By path below the state directory: settings, certificates and keys."""
    paths = [cluster.state / name for name in _FILES]
    for directory in _DIRECTORIES:
        paths += sorted(path for path in (cluster.state / directory).glob("*") if not path.name.startswith("."))
    return {str(path.relative_to(cluster.state)): path.read_bytes() for path in paths if path.is_file()}


async def write(
    cluster: Cluster, store: Store, path: Path, passphrase: Passphrase | None = None, *, clock: Clock | None = None
) -> tuple[Head, Manifest]:
    """Back up a cluster through its store, which goes on serving, into the new file `path`. Raises BackupError."""
    clock = clock or SystemClock()
    try:
        revision, pages = await records_of(store)
        head = Head(
            cluster.name, await uid_of(store), clock.time(), revision, cluster.settings().store, version("tiphys")
        )
        return head, await _write(path, head, await asyncio.to_thread(files_of, cluster), pages, passphrase)
    except StoreError as error:
        raise BackupError(f"the store of {cluster.name!r} cannot be read: {error}") from error
    except OSError as error:
        raise BackupError(f"cannot write the backup {path}: {error.strerror}") from error


async def _write(
    path: Path,
    head: Head,
    files: dict[str, bytes],
    pages: AsyncIterator[Sequence[Record]],
    passphrase: Passphrase | None,
) -> Manifest:
    writer = await asyncio.to_thread(Writer, path, head, passphrase)
    try:
        for name, data in files.items():
            writer.file(name, data)
        async for page in pages:
            await asyncio.to_thread(writer.records, page)
        return await asyncio.to_thread(writer.finish)
    except BaseException:
        writer.abandon()
        raise


@asynccontextmanager
async def reading(cluster: Cluster) -> AsyncIterator[Store]:
    """The store of a cluster, also while its server runs; only to be read. Raises BackupError."""
    settings = cluster.settings()
    if settings.store == "etcd":
        from tiphys.main.etcd import Etcd
        from tiphys.main.node_settings import node_of

        store: Store = await Etcd(node_of(cluster, settings, 1), SystemClock()).open_store()
    else:
        from tiphys.store.sqlite_reader import SqliteReader

        try:
            store = await SqliteReader.open(cluster.store)
        except StoreError as error:
            raise BackupError(f"the store of {cluster.name!r} cannot be read: {error}") from error
    try:
        yield store
    finally:
        await store.close()
