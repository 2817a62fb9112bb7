"""Volumes made ready on this node, kept current, and taken away.

What must not reach a disk (secrets, tokens, and with them every file made from the API) lies in the run directory,
which is a tmpfs; emptyDirs and subPath mounts lie in the pod's directory. All of it may be repeated at any time.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tiphys.api import quantity
from tiphys.kinds.core.container import Container, VolumeMount
from tiphys.kinds.core.persistentvolume import PersistentVolume
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.core.volume import EmptyDirVolume, HostPathVolume, Volume
from tiphys.kubelet.environment import Lookup, expand
from tiphys.kubelet.fields import BadField, Facts
from tiphys.kubelet.runtime import Mount
from tiphys.kubelet.volumes import atomic, payload
from tiphys.kubelet.volumes.payload import Payload, Tokens
from tiphys.kubelet.volumes.persistent import NotMounted, PersistentVolumes
from tiphys.node import mounts


class VolumeError(Exception):
    """A volume cannot be made ready; the message is upstream's."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What payloads are made from, and the PersistentVolumes behind the pod's claims by the name of its volume."""

    lookup: Lookup
    facts: Facts
    tokens: Tokens
    persistent: Mapping[str, PersistentVolume] = field(default_factory=dict)


class Volumes:
    """`root` holds pods' directories on disk, `run` what stays in memory, `local` volumes made for claims."""

    def __init__(self, root: Path, run: Path, local: Path) -> None:
        self._root, self._run = root / "pods", run / "volumes"
        self._persistent = PersistentVolumes(local, _host_path)
        self._written: dict[tuple[str, str], str] = {}

    def pod_directory(self, uid: str) -> Path:
        return self._root / uid

    async def prepare(self, pod: Pod, inputs: Inputs) -> dict[str, str]:
        """Make every volume ready or current; host paths by volume name. Raises VolumeError."""
        return await asyncio.to_thread(self._prepare, pod, inputs)

    def _prepare(self, pod: Pod, inputs: Inputs) -> dict[str, str]:
        found: dict[str, str] = {}
        for volume in pod.spec.volumes:
            try:
                found[volume.name] = self._one(pod, volume, inputs)
            except (payload.MissingObject, BadField, atomic.BadPath, NotMounted, OSError) as error:
                behind = inputs.persistent.get(volume.name)
                name = behind.metadata.name if behind is not None else volume.name
                raise VolumeError(f'MountVolume.SetUp failed for volume "{name}" : {error}') from error
        return found

    def _one(self, pod: Pod, volume: Volume, inputs: Inputs) -> str:
        if payload.is_payload(volume):
            return self._payload(pod, volume, inputs)
        if volume.empty_dir is not None:
            return self._empty_dir(pod, volume.name, volume.empty_dir)
        if volume.host_path is not None:
            return _host_path(volume.host_path)
        if volume.name in inputs.persistent:
            read_only = volume.name in read_only_claims(pod)
            return self._persistent.mount(pod, inputs.persistent[volume.name], read_only=read_only)
        raise VolumeError(f'volume "{volume.name}": this node has no plugin for its source')

    def _payload(self, pod: Pod, volume: Volume, inputs: Inputs) -> str:
        content = payload.build(pod, volume, inputs.lookup, inputs.facts, inputs.tokens)
        directory = self._run / pod.metadata.uid / volume.name
        key, seen = (pod.metadata.uid, volume.name), _digest(content)
        if self._written.get(key) != seen:
            atomic.write(directory, content, pod.spec.security_context.fs_group)
            self._written[key] = seen
        return str(directory)

    def _empty_dir(self, pod: Pod, name: str, source: EmptyDirVolume) -> str:
        directory = self._root / pod.metadata.uid / "volumes" / name
        group = pod.spec.security_context.fs_group
        if directory.exists() and (source.medium != "Memory" or os.path.ismount(directory)):
            return str(directory)
        directory.mkdir(parents=True, exist_ok=True)
        if source.medium == "Memory":
            size = quantity.parse(source.size_limit).value() if source.size_limit else 0
            mounts.tmpfs(str(directory), size=size, mode=0o777)
        elif source.medium not in ("", "HugePages"):
            raise VolumeError(f'volume "{name}": unknown storage medium "{source.medium}"')
        directory.chmod(0o777)
        if group is not None:
            os.chown(directory, -1, group)
            directory.chmod(0o2777)
        return str(directory)

    async def mounts_of(
        self, pod: Pod, container: Container, paths: Mapping[str, str], env: Mapping[str, str]
    ) -> list[Mount]:  # fmt: skip
        """The mounts of one container. Raises VolumeError."""

        def run() -> list[Mount]:
            parts = enumerate(container.volume_mounts)
            return [self._mount(pod, container, position, mount, paths, env) for position, mount in parts]

        return await asyncio.to_thread(run)

    def _mount(
        self, pod: Pod, container: Container, position: int, mount: VolumeMount,
        paths: Mapping[str, str], env: Mapping[str, str],
    ) -> Mount:  # fmt: skip
        path = paths.get(mount.name)
        if path is None:
            raise VolumeError(f'container "{container.name}" mounts volume "{mount.name}", which the pod does not have')
        part = expand(mount.sub_path_expr, env) if mount.sub_path_expr else mount.sub_path
        if part:
            path = self._sub_path(pod, container, position, path, part)
        inside = mount.mount_path if mount.mount_path.startswith("/") else "/" + mount.mount_path
        read_only = mount.read_only or mount.name in read_only_claims(pod)
        return Mount(inside, path, read_only, mount.mount_propagation or "None")

    def _sub_path(self, pod: Pod, container: Container, position: int, volume: str, part: str) -> str:
        """Bind a part of a volume where nothing in the volume can be changed to lead elsewhere."""
        if part.startswith("/") or ".." in part.split("/"):
            raise VolumeError(f'subPath "{part}": must be relative, without \'..\'')
        try:
            try:
                source = mounts.open_beneath(volume, part)
            except FileNotFoundError:
                mounts.make_beneath(volume, part, stat.S_IMODE(os.stat(volume).st_mode))
                source = mounts.open_beneath(volume, part)
        except OSError as error:
            where = f'subPath "{part}" for container "{container.name}"'
            raise VolumeError(f"failed to prepare {where}: {error}") from error
        try:
            target = self._root / pod.metadata.uid / "volume-subpaths" / container.name / str(position)
            mounts.unmount(str(target))
            target.parent.mkdir(parents=True, exist_ok=True)
            if stat.S_ISDIR(os.fstat(source).st_mode):
                target.mkdir(exist_ok=True)
            else:
                target.touch()
            mounts.bind(f"/proc/self/fd/{source}", str(target))
            return str(target)
        finally:
            os.close(source)

    async def release(self, uid: str) -> None:
        """Take away all that the pod had on this node."""
        await asyncio.to_thread(self._release, uid)

    def _release(self, uid: str) -> None:
        for key in [key for key in self._written if key[0] == uid]:
            del self._written[key]
        self._persistent.release(uid)
        directory = self._root / uid
        mounts.unmount_below(str(directory))
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(self._run / uid, ignore_errors=True)

    def known(self) -> set[str]:
        """The uids that have something here, also from before a restart."""
        return {name for place in (self._root, self._run) if place.is_dir() for name in os.listdir(place)}


def read_only_claims(pod: Pod) -> frozenset[str]:
    """The pod's volumes whose claims it uses read-only."""
    claims = ((volume.name, volume.persistent_volume_claim) for volume in pod.spec.volumes)
    return frozenset(name for name, claim in claims if claim is not None and claim.read_only)


def _digest(content: Payload) -> str:
    seen = hashlib.sha256()
    for name, file in sorted(content.items()):
        seen.update(f"{name}\0{file.mode}\0{file.uid}\0{len(file.data)}\0".encode())
        seen.update(file.data)
    return seen.hexdigest()


_CHECKS: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "a directory"), "File": (stat.S_ISREG, "a file"), "Socket": (stat.S_ISSOCK, "a socket"),
    "CharDevice": (stat.S_ISCHR, "a character device"), "BlockDevice": (stat.S_ISBLK, "a block device"),
}  # fmt: skip


def _host_path(source: HostPathVolume) -> str:
    path = Path(source.path)
    kind = source.type
    if kind == "DirectoryOrCreate":
        _make_directory(path)
        kind = "Directory"
    elif kind == "FileOrCreate":
        if not path.exists():
            path.touch()
            path.chmod(0o644)
        kind = "File"
    if kind in _CHECKS:
        check, shown = _CHECKS[kind]
        if not path.exists() or not check(path.stat().st_mode):
            raise VolumeError(f"hostPath type check failed: {source.path} is not {shown}")
    elif not path.exists():
        # Without a type the runtime makes a directory for what is missing, as upstream's does.
        _make_directory(path)
    return source.path


def _make_directory(path: Path) -> None:
    """As the runtime would make it, whatever the process' umask."""
    if not path.is_dir():
        path.mkdir(parents=True)
        path.chmod(0o755)
