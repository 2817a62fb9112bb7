"""The container runtime as the kubelet needs it: frozen values and one protocol. Adapters: cri_runtime.py, fake.py.

Times are unix seconds, 0.0 where a thing has not happened. Lists are newest first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

# Labels and annotations by which any CRI client (crictl too) knows whose a container is: upstream's words.
POD_UID, POD_NAME, POD_NAMESPACE = "io.kubernetes.pod.uid", "io.kubernetes.pod.name", "io.kubernetes.pod.namespace"
CONTAINER_NAME = "io.kubernetes.container.name"
HASH = "io.kubernetes.container.hash"
MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"
MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"


class RuntimeFault(Exception):
    """The runtime refused or failed; `retriable` is False for what another try cannot change."""

    def __init__(self, message: str, *, retriable: bool = True) -> None:
        super().__init__(message)
        self.retriable = retriable


class Gone(RuntimeFault):
    """What the call named does not exist (any more)."""


class State(Enum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A pod's sandbox; `ips` is empty on the host's network and when not ready."""

    id: str
    uid: str
    name: str
    namespace: str
    attempt: int
    ready: bool
    created_at: float
    ips: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resources:
    """`cpu_shares` weighs 1024 a core; `cpu_quota` is in microseconds each 100 ms; `memory` in bytes; 0 is none."""

    cpu_shares: int = 0
    cpu_quota: int = 0
    memory: int = 0
    oom_score_adj: int = 0


@dataclass(frozen=True, slots=True)
class Container:
    """`attempt` is the restart count; `labels` and `annotations` as given at creation."""

    id: str
    sandbox_id: str
    uid: str
    name: str
    attempt: int
    state: State
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    image: str = ""
    image_id: str = ""
    log_path: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    # What it may use now; None where the runtime does not say.
    resources: Resources | None = None

    @property
    def running(self) -> bool:
        return self.state is State.RUNNING

    @property
    def exited(self) -> bool:
        return self.state in (State.EXITED, State.UNKNOWN)


@dataclass(frozen=True, slots=True)
class PodRuntime:
    """All that the runtime has of one pod, newest first."""

    sandboxes: tuple[Sandbox, ...] = ()
    containers: tuple[Container, ...] = ()

    @property
    def sandbox(self) -> Sandbox | None:
        return self.sandboxes[0] if self.sandboxes else None

    def latest(self, name: str) -> Container | None:
        """The newest container called `name`."""
        return next((item for item in self.containers if item.name == name), None)

    def all(self, name: str) -> list[Container]:
        return [item for item in self.containers if item.name == name]


@dataclass(frozen=True, slots=True)
class PortMapping:
    container_port: int
    host_port: int
    protocol: str = "TCP"
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class Seccomp:
    """`kind` is RuntimeDefault, Unconfined or Localhost; also says an AppArmor profile."""

    kind: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class Dns:
    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    name: str
    namespace: str
    uid: str
    attempt: int
    hostname: str
    log_directory: str
    cgroup_parent: str = ""
    dns: Dns = Dns()
    ports: tuple[PortMapping, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    shared_pid: bool = False
    privileged: bool = False
    run_as_user: int | None = None
    run_as_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    seccomp: Seccomp | None = None
    handler: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    """`propagation` is None, HostToContainer or Bidirectional."""

    container_path: str
    host_path: str
    readonly: bool = False
    propagation: str = "None"


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """`permissions` are some of r, w and m (mknod)."""

    container_path: str
    host_path: str
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True)
class Security:
    privileged: bool = False
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_username: str = ""
    readonly_rootfs: bool = False
    no_new_privs: bool = False
    supplemental_groups: tuple[int, ...] = ()
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    seccomp: Seccomp | None = None
    apparmor: Seccomp | None = None
    masked_paths: bool = True
    # Join the process namespace of this container (ephemeral containers).
    target_id: str = ""


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """`image` is the reference to run, `log_path` relative to the sandbox's log directory.

    `cdi_devices` are for runtimes that know CDI.
    """

    name: str
    attempt: int
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    log_path: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    resources: Resources = Resources()
    security: Security = Security()
    devices: tuple[DeviceNode, ...] = ()
    cdi_devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExecResult:
    exit_code: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True, slots=True)
class ExecOptions:
    """What a terminal asks for when it attaches; `command` is empty for attach."""

    command: tuple[str, ...] = ()
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """`id` is the config's digest; `user` the image's, a name or a number, "" for root."""

    id: str
    names: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    size: int = 0
    user: str = ""
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Credentials:
    """For one registry."""

    username: str = ""
    password: str = ""
    server: str = ""
    auth: str = ""
    identity_token: str = ""


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """Of one container at `time`: CPU in nanoseconds since its start, memory and disk in bytes.

    `started` is in seconds since 1970, 0 where it is not known.
    """

    container_id: str
    uid: str
    pod: str
    namespace: str
    name: str
    time: float
    cpu_ns: int
    working_set: int
    memory: int = 0
    rss: int = 0
    disk: int = 0
    inodes: int = 0
    started: float = 0.0


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    name: str
    version: str
    ready: bool = True
    network_ready: bool = True
    message: str = ""
    handlers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """Look at pod `uid` again; "" means that events may have been missed: look at all.

    With `image`, only at those that wait for the image of that name: it is there.
    """

    uid: str
    image: str = ""


class Runtime(Protocol):
    """Every method raises `RuntimeFault`, `Gone` among them."""

    async def info(self) -> RuntimeInfo: ...

    async def pods(self) -> Mapping[str, PodRuntime]:
        """Every pod the runtime has, by uid, without the details that need a call for each container."""

    async def observe(self, uid: str) -> PodRuntime: ...

    def events(self) -> AsyncIterator[RuntimeEvent]:
        """Changes as they happen; what is told, `observe` knows. Ends by raising when the stream breaks."""

    async def run_sandbox(self, spec: SandboxSpec) -> str:
        """Make a sandbox with its network; its id."""

    async def stop_sandbox(self, sandbox_id: str) -> None: ...

    async def remove_sandbox(self, sandbox_id: str) -> None: ...

    async def create_container(self, sandbox_id: str, spec: ContainerSpec, sandbox: SandboxSpec) -> str: ...

    async def start_container(self, container_id: str) -> None: ...

    async def stop_container(self, container_id: str, grace: float) -> None:
        """Signal, then kill after `grace` seconds; returns when it has ended."""

    async def remove_container(self, container_id: str) -> None: ...

    async def update_resources(self, container_id: str, resources: Resources) -> None: ...

    async def reopen_log(self, container_id: str) -> None: ...

    async def exec_sync(self, container_id: str, command: Sequence[str], within: float) -> ExecResult:
        """Run a command in a container to its end. Raises TimeoutError after `within` seconds; 0 waits for ever."""

    async def exec_url(self, container_id: str, options: ExecOptions) -> str:
        """The URL of a streaming endpoint, for one use."""

    async def attach_url(self, container_id: str, options: ExecOptions) -> str: ...

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int]) -> str:
        """Where the runtime forwards; a WebSocket needs the pod's `ports` said beforehand, SPDY says them itself."""

    async def image(self, name: str) -> Image | None: ...

    async def images(self) -> Sequence[Image]: ...

    async def pull_image(self, name: str, credentials: Credentials | None = None) -> str:
        """Fetch an image; its id."""

    async def remove_image(self, name: str) -> None: ...

    async def usage(self) -> Sequence[ContainerUsage]: ...
