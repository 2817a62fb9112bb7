"""`tiphys store migrate --to etcd`: a running cluster's state moved from SQLite to etcd, without losing an object.

The server is away meanwhile; agents and pods go on. Until the settings are switched, any failure leads back to SQLite;
its file is kept, as `store.db.migrated`. Revisions go on from where they were, so that clients list again and go on.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tiphys.base.clock import SystemClock
from tiphys.main import etcd, up
from tiphys.main.backup import source
from tiphys.main.backup.seal import BackupError
from tiphys.main.cluster import DEFAULT_NAME, Cluster, ClusterError, Settings
from tiphys.main.node_settings import NodeSettings, nodes_of
from tiphys.main.pki import Pki
from tiphys.main.progress import Progress
from tiphys.store import StoreError

if TYPE_CHECKING:
    from tiphys.store.etcd import EtcdStore

_GRACE = 10.0
MIGRATED = ".migrated"


def store(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("tiphys store", description="Where a cluster keeps its state.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    move = verbs.add_parser("migrate", help="move a cluster's state from SQLite to etcd; it may have more servers then")
    move.add_argument("name", nargs="?", default=DEFAULT_NAME, help="the cluster's name (default: %(default)s)")
    move.add_argument("--to", choices=("etcd",), required=True)
    options = parser.parse_args(arguments)
    progress = Progress()
    try:
        if os.geteuid() != 0:
            raise ClusterError("a cluster is root's; run it with sudo")
        cluster = Cluster(options.name)
        with cluster.locked():
            migrate(cluster, progress)
    except (ClusterError, TimeoutError, OSError) as error:
        progress.fail(str(error))
        return 1
    return 0


def migrate(cluster: Cluster, progress: Progress) -> None:
    """Raises ClusterError; the caller holds the cluster's lock."""
    settings = cluster.settings()
    if settings.store == "etcd":
        raise ClusterError(f"cluster {cluster.name!r} keeps its state in etcd already")
    up.check_machine("etcd")
    if not cluster.store.exists():
        raise ClusterError(f"there is no {cluster.store} to migrate: `tiphys up {cluster.name}` first")
    asyncio.run(_migrate(cluster, settings, progress))


async def _migrate(cluster: Cluster, settings: Settings, progress: Progress) -> None:
    wanted = cluster.kept_in(settings, "etcd")
    first = nodes_of(cluster, wanted)[0]
    began = time.monotonic()
    try:
        await end(first, "server")
        count = await _move(cluster, wanted)
        cluster.save(wanted)
    except (ClusterError, StoreError, TimeoutError, OSError) as error:
        await end(first, "etcd")
        await asyncio.to_thread(etcd.forget, first)
        progress.step(f"nothing was moved, {cluster.name} goes on with SQLite")
        await up.start(cluster, progress)
        raise BackupError(f"the state of {cluster.name!r} could not be moved to etcd: {error}") from error
    await asyncio.to_thread(_set_aside, cluster)
    progress.step(
        f"{count} objects moved in {time.monotonic() - began:.1f} s; the old file is {cluster.store}{MIGRATED}"
    )
    await up.start(cluster, progress)


async def _move(cluster: Cluster, settings: Settings) -> int:
    """Fill a new etcd with what SQLite holds; how many objects."""
    async with source.reading(cluster) as old:
        new = await start_etcd(cluster, settings)
        try:
            revision, pages = await source.records_of(old)
            await new.fill(pages, revision)
            page = await new.list("/", limit=1)
            return len(page.records) + page.remaining
        finally:
            await new.close()


async def start_etcd(cluster: Cluster, settings: Settings) -> EtcdStore:
    """Start a new etcd of one member, the first control plane's, and connect to it."""
    first, *others = nodes_of(cluster, settings)
    if others:
        from tiphys.main import machine

        # It may be reached at the address that the machine has on the network of its nodes.
        await machine.ensure(cluster, settings, others)
    Pki(cluster.pki).ensure(cluster.name, {}, {etcd.CA: etcd.leaves([first.address])})
    etcd.plan([first])
    member = etcd.Etcd(first, SystemClock())
    member.start()
    opening, ended = asyncio.create_task(member.open_store()), asyncio.create_task(_wait_for_end(first))
    try:
        await asyncio.wait({opening, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            raise BackupError(f"etcd of {first.name} ended while it started; see {first.log('etcd')}")
        return await opening
    finally:
        for task in (opening, ended):
            task.cancel()


async def _wait_for_end(node: NodeSettings) -> None:
    from tiphys.node import process

    identity = process.load(node.pidfile("etcd"))
    if identity is not None:
        await identity.wait()


async def end(node: NodeSettings, role: str) -> None:
    """Stop a process of a node, if it runs."""
    from tiphys.node import process

    identity = process.load(node.pidfile(role))
    if identity is not None:
        await identity.stop(_GRACE)


def _set_aside(cluster: Cluster) -> None:
    # The reader that closed it last has taken in its write-ahead log.
    for path in sorted(cluster.state.glob(f"{cluster.store.name}*")):
        if path == cluster.store:
            path.rename(f"{path}{MIGRATED}")
        elif not path.name.endswith(MIGRATED):
            path.unlink()
