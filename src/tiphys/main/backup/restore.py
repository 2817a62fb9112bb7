"""`tiphys restore`: from a backup to a running cluster, on a bare machine or over the cluster that is there.

Everything is read and verified before anything changes. What does not hold on this machine is chosen anew (address,
node name, ports, certificates for them); CAs, token keys and the state of the cluster are those of the backup, and its
revisions go on far above any that was ever handed out, so that nobody takes an old object for a newer one.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tiphys.main import up
from tiphys.main.backup import source
from tiphys.main.backup.archive import SUFFIX, Head
from tiphys.main.backup.history import Material
from tiphys.main.backup.migrate import end, start_etcd
from tiphys.main.backup.runner import archive_name
from tiphys.main.backup.seal import BackupError
from tiphys.main.backup.times import stamp
from tiphys.main.backup.transform import Here, Network, records_for
from tiphys.main.cluster import Cluster, ClusterError, Settings, write_private
from tiphys.main.node_settings import nodes_of
from tiphys.main.progress import Progress
from tiphys.store import Record, Revision, Store, StoreError

# Where a cluster that is restored over is saved to first.
SAFETY = Path("/var/backups/tiphys")
# As much as etcd's own tools move revisions forward: more than any cluster writes between a backup and a crash.
_BUMP = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """`store` None keeps the backup's; `keep_nodes` keeps Nodes of other machines, which still run."""

    name: str
    store: str | None = None
    force: bool = False
    keep_nodes: bool = False


def restore(material: Material, wanted: Wanted, progress: Progress) -> None:
    """Verify, refuse or make room, write the cluster, start it. Raises ClusterError."""
    cluster = Cluster(wanted.name)
    _check_free(cluster, wanted)
    manifest, files = material.verify(), material.files()
    old = _settings_in(files, material.head)
    point = f"as of revision {material.head.revision}, of {stamp(material.head.created)}"
    progress.step(f"{manifest.records} objects of {material.head.cluster!r} {point}")
    up.check_machine(wanted.store or old.store)
    # Up to here, nothing on this machine has changed.
    with cluster.locked():
        _check_free(cluster, wanted)
        existed = cluster.exists
        if existed:
            asyncio.run(_make_room(cluster, progress))
        try:
            settings = _settle(cluster, old, wanted)
            _write_files(cluster, files, same=material.head.cluster == wanted.name)
            asyncio.run(_fill(cluster, settings, material, here_of(cluster, settings, old, wanted)))
        except (ClusterError, TimeoutError, OSError):
            if not existed:
                up.take_back(cluster)
            raise
        cluster.unfinished.unlink()
        _start(cluster, progress)


def _start(cluster: Cluster, progress: Progress) -> None:
    try:
        asyncio.run(up.start(cluster, progress))
    except (ClusterError, TimeoutError, OSError) as error:
        raise BackupError(
            f"the state of {cluster.name!r} is restored, but it does not come up ({error}); once that is mended, "
            f"`tiphys up {cluster.name}` starts it"
        ) from error


def _check_free(cluster: Cluster, wanted: Wanted) -> None:
    if cluster.exists and not wanted.force:
        raise BackupError(
            f"there is a cluster {wanted.name!r} on this machine: restore under another name with --name NAME, or "
            f"replace it with --force, which saves it under {SAFETY} first"
        )


def here_of(cluster: Cluster, settings: Settings, old: Settings, wanted: Wanted) -> Here:
    pairs = ((old.pods, settings.pods), (old.services, settings.services))
    networks: dict[Network, Network] = {before: now for before, now in pairs if before != now}
    names = None if wanted.keep_nodes else {node.name for node in nodes_of(cluster, settings)}
    return Here(names, networks)


def _settings_in(files: Mapping[str, bytes], head: Head) -> Settings:
    try:
        return msgspec.json.decode(files["cluster.json"], type=Settings)
    except (KeyError, msgspec.MsgspecError) as error:
        raise BackupError(
            f"the backup of {head.cluster!r} holds no settings that this version reads: {error}"
        ) from error


async def _make_room(cluster: Cluster, progress: Progress) -> None:
    """Save the cluster that is there, unless it is what an interrupted restore left; stop it, take its state away."""
    from tiphys.main import down

    if cluster.unfinished.exists():
        await down.stop(cluster, purge=False)
        await asyncio.to_thread(_move_state, cluster, None)
        return
    await asyncio.to_thread(SAFETY.mkdir, parents=True, exist_ok=True, mode=0o700)
    saved = SAFETY / archive_name(cluster.name, time.time())
    # So that nothing is acknowledged after what is saved.
    for node in nodes_of(cluster, cluster.settings()):
        await end(node, "server")
    try:
        async with source.reading(cluster) as store:
            await source.write(cluster, store, saved)
        progress.step(f"what was there is saved as {saved}")
    except ClusterError as error:
        # Its store cannot be read any more, which may be why it is replaced: its files are kept as they are.
        saved = saved.with_suffix("")
        progress.step(f"what was there could not be backed up ({error}): its files are kept in {saved}")
    await down.stop(cluster, purge=False)
    await asyncio.to_thread(_move_state, cluster, saved if saved.suffix != SUFFIX else None)


def _move_state(cluster: Cluster, kept: Path | None) -> None:
    nodes = nodes_of(cluster, cluster.settings())
    found = [path for path in cluster.state.glob("store.db*") if not path.name.endswith(".lock")]
    found += [path for node in nodes for path in (node.state / "etcd", node.state / "etcd.json") if path.exists()]
    found.append(cluster.pki)
    for path in found:
        if kept is not None:
            place = kept / path.relative_to(cluster.state)
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.move(path, place)
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _settle(cluster: Cluster, old: Settings, wanted: Wanted) -> Settings:
    """The settings here: the machine's own where there were some, else new ones as near to the old as they can be."""
    kept = wanted.store or old.store
    if cluster.exists:
        settings = cluster.kept_in(cluster.settings(), kept)
    else:
        settings = cluster.like(cluster.create(old.nodes, kept, old.control_planes if kept == "etcd" else 1), old)
    cluster.save(settings)
    cluster.unfinished.touch()
    return settings


def _write_files(cluster: Cluster, files: Mapping[str, bytes], *, same: bool) -> None:
    """CAs and keys as they were; certificates of the old machine are left out, and made anew for this one."""
    leaves = {name.removesuffix(".crt") for name, data in files.items() if name.endswith(".crt") and not _is_ca(data)}
    for name, data in files.items():
        # Of another name, it would write to the same destination as the original.
        if name == "cluster.json" or (name == "backup.json" and not same):
            continue
        if name.rpartition(".")[0] in leaves:
            continue
        path = cluster.state / name
        if not path.resolve().is_relative_to(cluster.state.resolve()):
            raise BackupError(
                f"the backup holds a file {name!r}, which lies outside of a cluster: it is not one of ours"
            )
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, data)


def _is_ca(data: bytes) -> bool:
    from cryptography import x509

    found = x509.load_pem_x509_certificates(data)[0]
    with suppress(x509.ExtensionNotFound):
        return found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    return False


async def _fill(cluster: Cluster, settings: Settings, material: Material, here: Here) -> None:
    store = await _open(cluster, settings)
    try:
        await store.fill(in_thread(records_for(here, material.records())), revision_after(material.head))
    except StoreError as error:
        raise BackupError(f"the store of {cluster.name!r} could not be filled: {error}") from error
    finally:
        await store.close()


async def _open(cluster: Cluster, settings: Settings) -> Store:
    """The new store, empty."""
    if settings.store != "etcd":
        from tiphys.store.sqlite import SqliteStore

        return await SqliteStore.open(cluster.store)
    return await start_etcd(cluster, settings)


async def in_thread(batches: Iterator[Sequence[Record]]) -> AsyncIterator[Sequence[Record]]:
    """What a blocking iterator gives."""
    while True:
        batch = await asyncio.to_thread(next, batches, None)
        if batch is None:
            return
        yield batch


def revision_after(head: Head) -> Revision:
    """Above every revision that the cluster has handed out since the backup, and any that was restored from it."""
    return max(head.revision + _BUMP, int(time.time() * 1e6))
