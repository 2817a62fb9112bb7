"""`tiphys backup configure`: where a cluster is backed up to while it runs."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from typing import Any

import msgspec

from tiphys.main.backup import settings as configured
from tiphys.main.backup.catalog import BACKUPS
from tiphys.main.backup.destination import Destination
from tiphys.main.backup.settings import BackupSettings
from tiphys.main.backup.times import shown_span, span
from tiphys.main.cluster import Cluster


def add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", metavar="DEST", help="a directory, s3://BUCKET/PREFIX, or '' for beside the state")
    parser.add_argument(
        "--continuous", action=argparse.BooleanOptionalAction, help="ship every change within about a second"
    )
    parser.add_argument(
        "--every", type=span, metavar="SPAN", help="write a full backup that often: 6h, 1d; 0 for never"
    )
    parser.add_argument("--keep", type=span, metavar="SPAN", help="how far back one can go: 12h, 7d")
    parser.add_argument("--keep-megabytes", type=int, metavar="N", help="the most that the history may take; 0 for any")


def configure(options: argparse.Namespace) -> dict[str, Any]:
    cluster = Cluster(options.name)
    cluster.settings()
    before = configured.load(cluster)
    wanted = _changed(before, options)
    # What cannot be opened is refused here, and not by the server later.
    configured.passphrase_of(wanted)
    asyncio.run(_probe(configured.destination_of(cluster, wanted)))
    if wanted != before:
        configured.save(cluster, wanted)
        _tell(cluster)
    found: dict[str, Any] = msgspec.to_builtins(wanted)
    return {**found, "text": described(cluster, wanted)}


def _changed(before: BackupSettings, options: argparse.Namespace) -> BackupSettings:
    given = {
        "destination": options.to, "continuous": options.continuous, "every": options.every, "keep": options.keep,
        "endpoint": options.endpoint, "region": options.region,
        "credentials": options.credentials and os.path.abspath(options.credentials),
        "passphrase": options.passphrase_file and os.path.abspath(options.passphrase_file),
        "keep_bytes": None if options.keep_megabytes is None else options.keep_megabytes * 2**20,
    }  # fmt: skip
    if options.to and options.keep_megabytes is None and not before.destination:
        # The bound of the default is there for the disk that the cluster itself lives on.
        given["keep_bytes"] = 0
    return msgspec.structs.replace(before, **{name: value for name, value in given.items() if value is not None})


async def _probe(destination: Destination) -> None:
    try:
        await destination.list(BACKUPS)
    finally:
        await destination.close()


def _tell(cluster: Cluster) -> None:
    """Make the servers on this machine read their settings again."""
    from tiphys.main.node_settings import nodes_of
    from tiphys.node import process

    for node in nodes_of(cluster, cluster.settings()):
        identity = process.load(node.pidfile("server")) if node.control_plane else None
        if identity is not None:
            identity.signal(signal.SIGHUP)


def described(cluster: Cluster, wanted: BackupSettings) -> str:
    """What is configured, in one line."""
    parts = ["every change within about a second"] if wanted.continuous else []
    parts += [f"all of it every {shown_span(wanted.every)}"] if wanted.every else []
    kept = f"kept for {shown_span(wanted.keep)}" + (
        f", the history in at most {wanted.keep_bytes / 2**20:.0f} MiB" if wanted.keep_bytes else ""
    )
    place = wanted.destination or cluster.state / "backup"
    return f"{cluster.name} is backed up to {place}: {' and '.join(parts)}, {kept}" if parts else f"{cluster.name}: off"
