"""What the workers of one kubelet share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from tiphys.base.clock import Clock
from tiphys.base.tasks import Supervisor
from tiphys.client.events import EventRecorder
from tiphys.client.timers import Timers
from tiphys.kinds.core.pod import Pod
from tiphys.kubelet.config import KubeletConfig
from tiphys.kubelet.handlers import Handlers
from tiphys.kubelet.images import Images
from tiphys.kubelet.pod_devices import PodDevices
from tiphys.kubelet.pod_host import PodHost
from tiphys.kubelet.runtime import Runtime
from tiphys.kubelet.status_writer import StatusWriter
from tiphys.kubelet.volumes.claims import Claims
from tiphys.kubelet.volumes.objects import Objects
from tiphys.kubelet.volumes.tokens import ServiceAccountTokens

# Returns once a pod with these addresses is isolated as the network policies demand.
Isolate = Callable[[Pod, Sequence[str]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Services:
    """`variables(namespace)` are the service links there; `memory` is the node's, in bytes."""

    config: KubeletConfig
    runtime: Runtime
    runtime_name: str
    host: PodHost
    objects: Objects
    claims: Claims
    tokens: ServiceAccountTokens
    images: Images
    handlers: Handlers
    statuses: StatusWriter
    recorder: EventRecorder
    clock: Clock
    timers: Timers
    supervisor: Supervisor
    variables: Callable[[str], Mapping[str, str]]
    allocatable: Mapping[str, str]
    memory: int
    node_labels: Callable[[], Mapping[str, str]]
    # RuntimeClass name -> the runtime's handler; raises ApiError.
    handler_of: Callable[[str], Awaitable[str]]
    devices: PodDevices
    # Whether the runtime takes CDI devices by itself.
    knows_cdi: bool = True
    isolate: Isolate | None = None
