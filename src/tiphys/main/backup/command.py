"""`tiphys backup` and `tiphys restore`: what is typed."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tiphys.main.backup import source
from tiphys.main.backup.archive import SUFFIX, Archive, Digest, Head, Manifest
from tiphys.main.backup.seal import BackupError, Passphrase
from tiphys.main.cluster import DEFAULT_NAME, Cluster, ClusterError
from tiphys.main.progress import Progress


def backup(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], dict[str, Any]] = options.run
    try:
        _check_root()
        found = run(options)
    except (ClusterError, OSError) as error:
        print(f"tiphys backup {options.verb}: {error}", file=sys.stderr)
        return 1
    if options.output == "json":
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        print(found["text"])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tiphys backup", description="Backups of a cluster, taken while it runs.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    create = verbs.add_parser("create", help="write one: state, certificates, keys and settings in one file")
    create.add_argument("name", nargs="?", default=DEFAULT_NAME, help="the cluster's name (default: %(default)s)")
    create.add_argument("--to", metavar="DEST", help="a file, or a directory (default: this one)")
    create.set_defaults(run=_create)
    verify = verbs.add_parser("verify", help="restore one into a scratch store and compare")
    verify.add_argument("file", type=Path)
    verify.set_defaults(run=_verify)
    for verb in (create, verify):
        verb.add_argument("--passphrase-file", type=Path, metavar="FILE", help="its first line is the passphrase")
        verb.add_argument("-o", "--output", choices=("json",), help="for scripts")
    return parser


def _check_root() -> None:
    if os.geteuid() != 0:
        raise BackupError("a cluster and its backups are root's; run it with sudo")


def _passphrase(options: argparse.Namespace) -> Passphrase | None:
    return Passphrase.read(options.passphrase_file) if options.passphrase_file else None


def _create(options: argparse.Namespace) -> dict[str, Any]:
    cluster = Cluster(options.name)
    cluster.settings()
    target = Path(options.to or ".").absolute()
    path = target / archive_name(cluster.name, time.time()) if target.is_dir() else target
    if path.exists():
        raise BackupError(f"{path} exists already: choose another name with --to")
    if not path.parent.is_dir():
        raise BackupError(f"there is no directory {path.parent}: make it first")

    async def create() -> tuple[Head, Manifest]:
        async with source.reading(cluster) as store:
            return await source.write(cluster, store, path, _passphrase(options))

    head, manifest = asyncio.run(create())
    return _shown(path, head, manifest, "written")


def archive_name(cluster: str, when: float) -> str:
    return f"{cluster}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(when))}{SUFFIX}"


def _verify(options: argparse.Namespace) -> dict[str, Any]:
    archive = Archive(options.file, _passphrase(options))
    manifest = archive.verify()
    asyncio.run(_restore_to_scratch(archive, manifest))
    return _shown(options.file, archive.head, manifest, "verified: it restores to what was backed up")


async def _restore_to_scratch(archive: Archive, manifest: Manifest) -> None:
    from tiphys.main.backup.restore import in_thread, revision_after
    from tiphys.store.sqlite import SqliteStore

    with tempfile.TemporaryDirectory(prefix="tiphys-verify-") as directory:
        store = await SqliteStore.open(Path(directory) / "store.db")
        try:
            await store.fill(in_thread(archive.records()), revision_after(archive.head))
            digest = Digest()
            _, pages = await source.records_of(store)
            async for page in pages:
                digest.add(page)
        finally:
            await store.close()
    if digest.manifest(manifest.files) != manifest:
        raise BackupError(f"{archive.path} does not restore to what was backed up: use another backup")


def _shown(path: Path, head: Head, manifest: Manifest, what: str) -> dict[str, Any]:
    size = path.stat().st_size
    return {
        "file": str(path), "cluster": head.cluster, "uid": head.uid, "created": _stamp(head.created),
        "revision": head.revision, "store": head.store, "version": head.version, "encrypted": head.sealing is not None,
        "bytes": size, "objects": manifest.records, "files": sorted(manifest.files),
        "text": f"{path} {what} ({manifest.records} objects, revision {head.revision}, {size / 1e6:.1f} MB)",
    }  # fmt: skip


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def restore(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        "tiphys restore", description="Make a cluster of a backup, and start it; everything is verified first."
    )
    parser.add_argument(
        "source", help="a backup file, or what a running cluster ships to: a directory, s3://BUCKET/PREFIX"
    )
    parser.add_argument("--name", help="the cluster's name here (default: the one it had)")
    parser.add_argument("--store", choices=("sqlite", "etcd"), help="where its state is kept (default: where it was)")
    parser.add_argument("--force", action="store_true", help="replace a cluster of that name; it is saved first")
    parser.add_argument(
        "--keep-nodes", action="store_true", help="keep Nodes of other machines: they still run, and know the way here"
    )
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help="its first line is the passphrase")
    options = parser.parse_args(arguments)
    progress = Progress()
    try:
        _check_root()
        _restore(options, progress)
    except (ClusterError, TimeoutError, OSError) as error:
        progress.fail(str(error))
        return 1
    return 0


def _restore(options: argparse.Namespace, progress: Progress) -> None:
    from tiphys.main.backup.restore import Wanted
    from tiphys.main.backup.restore import restore as run

    archive = Archive(Path(options.source), _passphrase(options))
    wanted = Wanted(options.name or archive.head.cluster, options.store, options.force, options.keep_nodes)
    with Cluster(wanted.name).locked():
        asyncio.run(run(archive, wanted, progress))
