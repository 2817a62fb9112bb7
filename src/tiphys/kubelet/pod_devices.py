"""What the kubelet needs of the devices of claims: by claimed_devices.py where there are drivers, else nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tiphys.kinds.core.container import Container
from tiphys.kinds.core.pod import Pod


class NotPrepared(Exception):
    """A claim's devices are not ready, or could not be taken back, in upstream's words."""


class PodDevices(Protocol):
    """All raise NotPrepared."""

    async def prepare(self, pod: Pod) -> None:
        """Have the devices of all the pod's claims ready."""

    async def of(self, pod: Pod, container: Container) -> Sequence[str]:
        """The CDI names of the devices that a container is to have."""

    async def release(self, uid: str) -> None:
        """Nothing of the pod runs any more: take back what nobody else here uses."""

    async def orphans(self, keep: set[str]) -> None:
        """Take back what pods not in `keep` had."""


class NoDevices:
    """For simulated nodes: every device is ready, and none is there."""

    async def prepare(self, pod: Pod) -> None:
        return

    async def of(self, pod: Pod, container: Container) -> Sequence[str]:
        return ()

    async def release(self, uid: str) -> None:
        return

    async def orphans(self, keep: set[str]) -> None:
        return
