"""`tiphys backup`: what is typed, and what is shown."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tiphys.main.backup import catalog, history, source
from tiphys.main.backup import settings as configured
from tiphys.main.backup.archive import Archive, Digest, Head, Manifest
from tiphys.main.backup.catalog import BACKUPS
from tiphys.main.backup.destination import Destination
from tiphys.main.backup.history import Material, Point
from tiphys.main.backup.runner import archive_name, full_backups
from tiphys.main.backup.seal import BackupError, Passphrase
from tiphys.main.backup.settings import BackupSettings
from tiphys.main.backup.times import shown_span, span, stamp
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


def check_root() -> None:
    if os.geteuid() != 0:
        raise BackupError("a cluster and its backups are root's; run it with sudo")


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
    _add_settings(configure)
    configure.set_defaults(run=_configure)
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


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", metavar="DEST", help="a directory, s3://BUCKET/PREFIX, or '' for beside the state")
    parser.add_argument(
        "--continuous", action=argparse.BooleanOptionalAction, help="ship every change within about a second"
    )
    parser.add_argument(
        "--every", type=span, metavar="SPAN", help="write a full backup that often: 6h, 1d; 0 for never"
    )
    parser.add_argument("--keep", type=span, metavar="SPAN", help="how far back one can go: 12h, 7d")
    parser.add_argument("--keep-megabytes", type=int, metavar="N", help="the most that the history may take; 0 for any")


def add_bucket_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--endpoint", metavar="URL", help="of the S3-compatible store (default: AWS')")
    parser.add_argument("--region", help="of the bucket (default: us-east-1)")
    parser.add_argument(
        "--credentials", metavar="FILE", help="with aws_access_key_id and aws_secret_access_key (default: environment)"
    )


def passphrase_in(options: argparse.Namespace) -> Passphrase | None:
    return Passphrase.read(options.passphrase_file) if options.passphrase_file else None


def place_in(options: argparse.Namespace, place: str) -> Destination:
    """A destination named on the command line."""
    wanted = BackupSettings(
        endpoint=options.endpoint or "", region=options.region or "", credentials=options.credentials or ""
    )
    return configured.open_destination(place if "://" in place else os.path.abspath(place), wanted)


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


def _configure(options: argparse.Namespace) -> Found:
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
    found: Found = msgspec.to_builtins(wanted)
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
