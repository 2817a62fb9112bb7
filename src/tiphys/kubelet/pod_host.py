"""What a pod has on the host besides its containers: directories, volumes, logs, cgroup; or, simulated, nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock
from tiphys.kinds.core.container import Container
from tiphys.kinds.core.pod import Pod
from tiphys.kubelet import pod_files, runtime
from tiphys.kubelet.config import KubeletConfig
from tiphys.kubelet.identity import log_directory
from tiphys.kubelet.resources import pod_limits, qos_class
from tiphys.kubelet.runtime import Mount
from tiphys.kubelet.volumes.setup import Inputs, Volumes
from tiphys.node import cgroups
from tiphys.node.cgroups import Cgroups

# A killed process leaves its cgroup a moment after its end.
_LEAVE = Backoff(initial=0.005, maximum=0.5)
_LEAVE_TRIES = 20


class PodHost(Protocol):
    """Raises OSError and `volumes.setup.VolumeError`."""

    def cgroup(self, pod: Pod) -> str:
        """The pod's cgroup, as the runtime takes it; "" where there is none."""

    async def make(self, pod: Pod) -> None:
        """Directories and cgroup, before the sandbox."""

    async def volumes(self, pod: Pod, inputs: Inputs) -> Mapping[str, str]:
        """Host paths of the pod's volumes, made or made current."""

    async def mounts(self, pod: Pod, container: Container, attempt: int, given: Given) -> list[Mount]: ...

    async def message(self, container: runtime.Container) -> str:
        """An ended container's termination message."""

    async def release(self, pod: Pod) -> None:
        """Nothing of the pod runs any more: take away volumes and cgroup; logs stay."""

    async def remove(self, pod: Pod) -> None:
        """The pod is gone: take away its logs too."""

    async def orphans(self, keep: set[str]) -> None:
        """Take away what belongs to pods not in `keep`."""


class Given:
    """What mounts are made from: the volumes' paths, the container's environment, the pod's addresses."""

    __slots__ = ("env", "ips", "paths")

    def __init__(self, paths: Mapping[str, str], env: Mapping[str, str], ips: tuple[str, ...]) -> None:
        self.paths, self.env, self.ips = paths, env, ips


class LinuxHost:
    def __init__(self, config: KubeletConfig, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self._volumes = Volumes(config.root, config.run, config.volumes)
        self._cgroups = Cgroups(config.cgroup_root) if config.cgroup_root else None

    def cgroup(self, pod: Pod) -> str:
        if self._cgroups is None:
            return ""
        return cgroups.pod_path(self._cgroups.root, qos_class(pod), str(pod.metadata.uid))

    def _logs(self, pod: Pod) -> Path:
        return Path(log_directory(str(self._config.logs), pod))

    async def make(self, pod: Pod) -> None:
        def run() -> None:
            directory = self._volumes.pod_directory(str(pod.metadata.uid))
            pod_files.make_directories(directory, self._logs(pod), [c.name for c in pod.spec.all_containers()])
            if self._cgroups is not None:
                self._cgroups.create(self.cgroup(pod), pod_limits(pod))

        await asyncio.to_thread(run)

    async def volumes(self, pod: Pod, inputs: Inputs) -> Mapping[str, str]:
        return await self._volumes.prepare(pod, inputs)

    async def mounts(self, pod: Pod, container: Container, attempt: int, given: Given) -> list[Mount]:
        directory = self._volumes.pod_directory(str(pod.metadata.uid))
        found = await self._volumes.mounts_of(pod, container, given.paths, given.env)

        def files() -> list[Mount]:
            (self._logs(pod) / container.name).mkdir(parents=True, exist_ok=True)
            pod_files.remove_old_messages(directory, container.name, attempt - 1)
            hosts = pod_files.hosts_mount(pod, container, directory, given.ips, self._config.dns.domain)
            return hosts + pod_files.message_mount(container, directory, attempt)

        return found + await asyncio.to_thread(files)

    async def message(self, container: runtime.Container) -> str:
        directory = self._volumes.pod_directory(container.uid)
        return await asyncio.to_thread(pod_files.termination_message, directory, container)

    async def release(self, pod: Pod) -> None:
        await self._volumes.release(str(pod.metadata.uid))
        await self._remove_cgroup(self.cgroup(pod))

    async def _remove_cgroup(self, path: str) -> None:
        if self._cgroups is None:
            return
        for attempt in range(_LEAVE_TRIES):
            if await asyncio.to_thread(self._cgroups.remove, path):
                return
            await self._clock.sleep(_LEAVE.delay(attempt))

    async def remove(self, pod: Pod) -> None:
        await self.release(pod)
        await asyncio.to_thread(pod_files.remove_logs, self._logs(pod))

    async def orphans(self, keep: set[str]) -> None:
        for uid in await asyncio.to_thread(self._volumes.known) - keep:
            await self._volumes.release(uid)
        groups = await asyncio.to_thread(self._cgroups.pods) if self._cgroups is not None else {}
        for uid, path in groups.items():
            if uid not in keep:
                await self._remove_cgroup(path)


class NoHost:
    """For simulated nodes: every pod gets what it asks for, and nothing is made."""

    def cgroup(self, pod: Pod) -> str:
        return ""

    async def make(self, pod: Pod) -> None:
        return

    async def volumes(self, pod: Pod, inputs: Inputs) -> Mapping[str, str]:
        return {volume.name: f"/simulated/{volume.name}" for volume in pod.spec.volumes}

    async def mounts(self, pod: Pod, container: Container, attempt: int, given: Given) -> list[Mount]:
        return []

    async def message(self, container: runtime.Container) -> str:
        return container.message

    async def release(self, pod: Pod) -> None:
        return

    async def remove(self, pod: Pod) -> None:
        return

    async def orphans(self, keep: set[str]) -> None:
        return
