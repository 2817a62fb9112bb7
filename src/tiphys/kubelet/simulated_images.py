"""Images on simulated nodes: every one is there, except for pods whose lot or whose annotation it is to have none."""

from __future__ import annotations

from tiphys.base.clock import Clock
from tiphys.kinds.core.pod import Pod
from tiphys.kubelet.fake import FakeRuntime
from tiphys.kubelet.images import Images
from tiphys.kubelet.runtime import Credentials, Image, RuntimeFault


class SimulatedImages(Images):
    def __init__(self, runtime: FakeRuntime, clock: Clock) -> None:
        super().__init__(runtime, clock)
        self._fake = runtime

    async def _present(self, pod: Pod, name: str) -> Image | None:
        return None if self._lacks(pod) else await super()._present(pod, name)

    async def _fetch(self, pod: Pod, name: str, tries: list[Credentials]) -> None:
        if self._lacks(pod):
            raise RuntimeFault(f'failed to resolve reference "{name}": {name}: not found')
        await super()._fetch(pod, name, tries)

    def _lacks(self, pod: Pod) -> bool:
        return self._fake.lacks_images(str(pod.metadata.uid), pod.metadata.annotations)
