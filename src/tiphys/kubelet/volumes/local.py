"""Volumes that were made for claims on this node and are being deleted: the directory goes first, then the finalizer.

A volume is being deleted here once its claim is gone and its reclaim policy is Delete, or because somebody deleted it;
what somebody deleted although its policy is Retain keeps its directory, as the policy says.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from tiphys.api.errors import ApiError, Conflict, NotFound
from tiphys.base.log import Log
from tiphys.client.client import Client
from tiphys.client.informer import Informer
from tiphys.client.timers import Timers
from tiphys.client.transport import Unreachable
from tiphys.client.workqueue import WorkQueue
from tiphys.kinds.core.persistentvolume import PERSISTENT_VOLUMES, PersistentVolume
from tiphys.kinds.storage.local import FINALIZER, node_of

_log = Log("kubelet.volumes")


class LocalVolumes:
    """`directory` is None where nothing has files."""

    def __init__(
        self, client: Client, volumes: Informer[PersistentVolume], timers: Timers, directory: Path | None
    ) -> None:  # fmt: skip
        self._client, self._volumes, self._directory = client.of(PERSISTENT_VOLUMES), volumes, directory
        self._queue = WorkQueue(timers)
        # Those of which the informer has not seen yet that they are let go.
        self._done: set[str] = set()
        volumes.add_handler(self._changed)

    def _changed(self, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        if new is None and old is not None:
            self._done.discard(old.metadata.uid)
        elif new is not None and _is_going(new):
            self._queue.add(new.metadata.name)

    async def run(self) -> None:
        while True:
            name = await self._queue.get()
            try:
                await self._let_go(name)
                self._queue.forget(name)
            except (ApiError, Unreachable, OSError) as error:
                delay = self._queue.retry(name)
                # A lost race is everyday business.
                tell = _log.debug if isinstance(error, Conflict) else _log.warning
                tell("volume not removed yet", volume=name, error=str(error), retry=round(delay, 2))
            finally:
                self._queue.done(name)

    async def _let_go(self, name: str) -> None:
        volume = self._volumes.get(name)
        if volume is None or not _is_going(volume) or volume.metadata.uid in self._done:
            return
        meta = volume.metadata
        if self._directory is not None and volume.spec.persistent_volume_reclaim_policy == "Delete":
            await asyncio.to_thread(remove, self._directory, name)
        kept = [held for held in meta.finalizers if held != FINALIZER]
        patch = {"metadata": {"resourceVersion": meta.resource_version, "finalizers": kept}}
        try:
            await self._client.patch(meta, patch)
        except NotFound:
            return
        if self._volumes.get(name) is not None:
            self._done.add(meta.uid)


def _is_going(volume: PersistentVolume) -> bool:
    """Deleted, and used by nobody."""
    meta = volume.metadata
    if meta.deletion_timestamp is None or FINALIZER not in meta.finalizers or not node_of(volume):
        return False
    return volume.status.phase != "Bound"


def remove(directory: Path, name: str) -> None:
    """Remove a volume's directory and what is in it, whatever links it holds; fine if it is gone. Raises OSError."""
    if name in ("", ".", "..") or "/" in name:
        raise OSError(f"{name!r} is not the name of a volume")
    try:
        parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if os.path.islink(f"/proc/self/fd/{parent}/{name}"):
            os.unlink(name, dir_fd=parent)
        else:
            shutil.rmtree(name, dir_fd=parent)
    except FileNotFoundError:
        return
    finally:
        os.close(parent)
