"""Mounting PersistentVolumes: directories of this node, named by an administrator or made for a claim.

What was made for a claim lies in one directory of the node's, open to root only; each volume below it is open to
whichever user its pod has, for nobody else gets there. It is made at the first mount.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tiphys.kinds.core.persistentvolume import PersistentVolume
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.core.volume import HostPathVolume
from tiphys.kinds.storage.local import node_of
from tiphys.kubelet.volumes import ownership

_BASE_MODE, _MODE = 0o700, 0o777


class NotMounted(Exception):
    """The volume cannot be mounted; the message says why."""


class PersistentVolumes:
    """`directory` is where this node's volumes are that were made for claims; `host_path` mounts a hostPath."""

    def __init__(self, directory: Path, host_path: Callable[[HostPathVolume], str]) -> None:
        self._directory, self._host_path = directory, host_path
        # Of which pods and volumes the group owns all files by now.
        self._given: set[tuple[str, str]] = set()

    def mount(self, pod: Pod, volume: PersistentVolume, *, read_only: bool) -> str:
        """The path on this node. Raises NotMounted and OSError."""
        spec, name = volume.spec, volume.metadata.name
        if spec.volume_mode == "Block":
            raise NotMounted(f'PersistentVolume "{name}": volumeMode Block is not supported by this node')
        if spec.host_path is not None:
            return self._host_path(spec.host_path)
        if spec.local is None:
            raise NotMounted(f'PersistentVolume "{name}": this node mounts only volumes of type hostPath and local')
        path = self._own(volume) if node_of(volume) else Path(spec.local.path)
        if not path.is_dir():
            raise NotMounted(f'path "{path}" does not exist')
        group, done = pod.spec.security_context.fs_group, (str(pod.metadata.uid), name)
        if group is not None and done not in self._given:
            policy = pod.spec.security_context.fs_group_change_policy
            ownership.give(path, group, policy=policy, read_only=read_only)
            self._given.add(done)
        return str(path)

    def _own(self, volume: PersistentVolume) -> Path:
        """The directory of a volume that was made for a claim."""
        name = volume.metadata.name
        path = self._directory / name
        if volume.spec.local is None or volume.spec.local.path != str(path):
            raise NotMounted(f'PersistentVolume "{name}" is not in "{self._directory}", where this node keeps its own')
        self._directory.mkdir(parents=True, exist_ok=True)
        self._directory.chmod(_BASE_MODE)
        if not path.is_symlink() and not path.exists():
            path.mkdir()
            path.chmod(_MODE)
        if path.is_symlink():
            raise NotMounted(f'"{path}" is a link')
        return path

    def release(self, uid: str) -> None:
        self._given = {done for done in self._given if done[0] != uid}
