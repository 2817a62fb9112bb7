"""`tiphys restore`: what is typed. The source is a file, a history, or the newest full backup of a destination."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tiphys.main.backup.command import found_at
from tiphys.main.backup.history import Point
from tiphys.main.backup.options import add_bucket_options, check_root
from tiphys.main.backup.times import moment
from tiphys.main.cluster import ClusterError
from tiphys.main.progress import Progress


def restore(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    progress = Progress()
    try:
        check_root()
        _restore(options, progress)
    except (ClusterError, TimeoutError, OSError) as error:
        progress.fail(str(error))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "tiphys restore", description="Make a cluster of a backup, and start it; everything is verified first."
    )
    parser.add_argument("source", help="a backup file, or where a cluster ships to: a directory, s3://BUCKET/PREFIX")
    point = parser.add_mutually_exclusive_group()
    point.add_argument("--at", type=moment, metavar="TIME", help="as it was then: 2026-11-20T10:15:00Z")
    point.add_argument("--revision", type=int, help="as it was at that revision")
    parser.add_argument("--name", help="the cluster's name here (default: the one it had)")
    parser.add_argument("--store", choices=("sqlite", "etcd"), help="where its state is kept (default: where it was)")
    parser.add_argument("--force", action="store_true", help="replace a cluster of that name; it is saved first")
    parser.add_argument(
        "--keep-nodes", action="store_true", help="keep Nodes of other machines: they still run, and know the way here"
    )
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help="its first line is the passphrase")
    add_bucket_options(parser)
    return parser


def _restore(options: argparse.Namespace, progress: Progress) -> None:
    from tiphys.main.backup.restore import Wanted
    from tiphys.main.backup.restore import restore as make

    with tempfile.TemporaryDirectory(prefix="tiphys-restore-") as scratch:
        point = Point(options.revision, options.at)
        material = asyncio.run(found_at(options, options.source, point, Path(scratch)))
        wanted = Wanted(options.name or material.head.cluster, options.store, options.force, options.keep_nodes)
        make(material, wanted, progress)
