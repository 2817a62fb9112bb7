"""`tiphys backup`: what is typed, and what is shown."""

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

from tiphys.main.backup import catalog, configuring, history, source
from tiphys.main.backup import settings as configured
from tiphys.main.backup.archive import Archive, Digest, Head, Manifest
from tiphys.main.backup.catalog import BACKUPS
from tiphys.main.backup.destination import Destination
from tiphys.main.backup.history import Material, Point
from tiphys.main.backup.options import add_bucket_options, check_root, passphrase_in, place_in
from tiphys.main.backup.runner import archive_name, full_backups
from tiphys.main.backup.seal import BackupError, Passphrase
from tiphys.main.backup.times import stamp
from tiphys.main.cluster import DEFAULT_NAME, Cluster, ClusterError

Found = dict[str, Any]


def backup(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], Found] = options.run
    try:
        check_root()
        found = run(options)
    except (ClusterError, OSError) as error:
        print(f"tiphys backup {options.verb}: {error}", file=sys.stderr)
        return 1
    text = found.pop("text")
    print(msgspec.json.format(msgspec.json.encode(found)).decode() if options.output == "json" else text)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tiphys backup", description="Backups of a cluster, taken while it runs.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    create = verbs.add_parser("create", help="write one: state, certificates, keys and settings in one file")
    create.add_argument(
        "--to", metavar="DEST", help="a file, a directory or s3://BUCKET/PREFIX (default: as configured, or here)"
    )
    create.set_defaults(run=_create)
    listing = verbs.add_parser("list", help="list the full backups, and how far back the history goes")
    listing.add_argument("--from", dest="place", metavar="DEST", help="where they are (default: as configured)")
    listing.set_defaults(run=_list)
    configure = verbs.add_parser("configure", help="say where a cluster is backed up to while it runs, or show it")
    configuring.add_settings(configure)
    configure.set_defaults(run=configuring.configure)
    for verb in (create, listing, configure):
        verb.add_argument("name", nargs="?", default=DEFAULT_NAME, help="the cluster's name (default: %(default)s)")
        add_bucket_options(verb)
    verify = verbs.add_parser("verify", help="restore one into a scratch store and compare")
    verify.add_argument("file", help="a backup, or where a cluster ships to: a directory, s3://BUCKET/PREFIX")
    add_bucket_options(verify)
    verify.set_defaults(run=_verify)
    for verb in (create, listing, configure, verify):
        verb.add_argument("--passphrase-file", type=Path, metavar="FILE", help="its first line is the passphrase")
        verb.add_argument("-o", "--output", choices=("json",), help="for scripts")
    return parser


def _create(options: argparse.Namespace) -> Found:
    cluster = Cluster(options.name)
    cluster.settings()
    wanted = configured.load(cluster)
    if options.to is None and wanted.destination:
        return asyncio.run(_create_there(cluster, configured.destination_of(cluster, wanted), options, BACKUPS))
    if "://" in (options.to or ""):
        return asyncio.run(_create_there(cluster, place_in(options, options.to), options, BACKUPS))
    target = Path(options.to or ".").absolute()
    path = target / archive_name(cluster.name, time.time()) if target.is_dir() else target
    if path.exists():
        raise BackupError(f"{path} exists already: choose another name with --to")
    if not path.parent.is_dir():
        raise BackupError(f"there is no directory {path.parent}: make it first")
    head, manifest = asyncio.run(_write(cluster, path, passphrase_in(options)))
    return _shown(str(path), path.stat().st_size, head, manifest, "written")


async def _create_there(cluster: Cluster, there: Destination, options: argparse.Namespace, below: str) -> Found:
    passphrase = passphrase_in(options) or configured.passphrase_of(configured.load(cluster))
    try:
        with tempfile.TemporaryDirectory(prefix="tiphys-backup-") as directory:
            path = Path(directory) / "full"
            head, manifest = await _write(cluster, path, passphrase)
            name = below + archive_name(cluster.name, head.created)
            await there.put(name, path)
            return _shown(f"{there}/{name}", path.stat().st_size, head, manifest, "written")
    finally:
        await there.close()


async def _write(cluster: Cluster, path: Path, passphrase: Passphrase | None) -> tuple[Head, Manifest]:
    async with source.reading(cluster) as store:
        return await source.write(cluster, store, path, passphrase)


def _verify(options: argparse.Namespace) -> Found:
    with tempfile.TemporaryDirectory(prefix="tiphys-verify-") as directory:
        material = asyncio.run(found_at(options, options.file, Point(), Path(directory)))
        manifest = material.verify()
        asyncio.run(_restore_to_scratch(material, manifest, options.file))
    return _shown(options.file, manifest.bytes, material.head, manifest, "verified: it restores to what was backed up")


async def _restore_to_scratch(material: Material, manifest: Manifest, name: str) -> None:
    from tiphys.main.backup.restore import in_thread, revision_after
    from tiphys.store.sqlite import SqliteStore

    with tempfile.TemporaryDirectory(prefix="tiphys-verify-") as directory:
        store = await SqliteStore.open(Path(directory) / "store.db")
        try:
            await store.fill(in_thread(material.records()), revision_after(material.head))
            digest = Digest()
            _, pages = await source.records_of(store)
            async for page in pages:
                digest.add(page)
        finally:
            await store.close()
    if digest.manifest(manifest.files) != manifest:
        raise BackupError(f"{name} does not restore to what was backed up: use another backup")


async def found_at(options: argparse.Namespace, place: str, point: Point, scratch: Path) -> Material:
    """What a file holds; or a destination: a point of its history, or its newest full backup if it has none."""
    passphrase = passphrase_in(options)
    if "://" not in place and not await asyncio.to_thread(os.path.isdir, place):
        return _in_file(Path(place), point, passphrase)
    destination = place_in(options, place)
    try:
        if await catalog.generations(destination) or point != Point():
            return await history.read(destination, point, scratch, passphrase)
        found = await full_backups(destination)
        if not found:
            raise BackupError(f"there is no backup in {destination}: name the place that a cluster was backed up to")
        return await history.fetch(destination, found[-1][1].name, scratch / "full", passphrase)
    finally:
        await destination.close()


def _in_file(path: Path, point: Point, passphrase: Passphrase | None) -> Archive:
    archive = Archive(path, passphrase)
    if point != Point():
        raise BackupError(
            f"{path} holds one moment, {stamp(archive.head.created)}, revision {archive.head.revision}: "
            "--at and --revision are for the history that a cluster ships, so name its directory or bucket"
        )
    return archive


def _shown(path: str, size: int, head: Head, manifest: Manifest, what: str) -> Found:
    return {
        "file": path, "cluster": head.cluster, "uid": head.uid, "created": stamp(head.created),
        "revision": head.revision, "store": head.store, "version": head.version, "encrypted": head.sealing is not None,
        "bytes": size, "objects": manifest.records, "files": sorted(manifest.files),
        "text": f"{path} {what} ({manifest.records} objects, revision {head.revision}, {size / 1e6:.1f} MB)",
    }  # fmt: skip


def _list(options: argparse.Namespace) -> Found:
    if options.place:
        return asyncio.run(_listed(place_in(options, options.place), passphrase_in(options)))
    cluster = Cluster(options.name)
    cluster.settings()
    wanted = configured.load(cluster)
    passphrase = passphrase_in(options) or configured.passphrase_of(wanted)
    return asyncio.run(_listed(configured.destination_of(cluster, wanted), passphrase))


async def _listed(destination: Destination, passphrase: Passphrase | None) -> Found:
    try:
        full = await full_backups(destination)
        past = await _history(destination, passphrase)
    finally:
        await destination.close()
    lines = [f"{item.name:<64} {stamp(when)} {item.size / 1e6:>8.1f} MB" for when, item in full]
    said = "none"
    if past:
        said = (
            f"from {past['since']}, revision {past['revision']}, to {past['until']}, revision {past['last']}, "
            f"{past['bytes'] / 1e6:.1f} MB"
        )
    lines.append(f"history in {destination}: {said}")
    return {
        "destination": str(destination), "history": past, "text": "\n".join(lines),
        "backups": [{"name": item.name, "created": stamp(when), "bytes": item.size} for when, item in full],
    }  # fmt: skip


async def _history(destination: Destination, passphrase: Passphrase | None) -> Found | None:
    """Where the history begins and ends, if there is one."""
    found = [generation for generation in await catalog.generations(destination) if generation.bases]
    if not found:
        return None
    first = found[0].bases[0]
    last, at = await history.end_of(destination, found[-1], passphrase)
    size = sum(generation.size for generation in found)
    return {
        "since": stamp(first.time), "revision": first.revision, "until": stamp(at), "last": last, "bytes": size
    }  # fmt: skip
