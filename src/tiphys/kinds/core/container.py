"""Containers of a pod as components read them. Source: the Container, Probe and Lifecycle definitions of core/v1."""

from __future__ import annotations

from tiphys.api.meta import Model

IntOrString = int | str


class ContainerPort(Model):
    container_port: int
    name: str = ""
    host_port: int = 0
    host_ip: str = ""
    protocol: str = "TCP"


class ObjectFieldSelector(Model):
    field_path: str
    api_version: str = "v1"


class ResourceFieldSelector(Model):
    resource: str
    container_name: str = ""
    divisor: str = "0"


class KeySelector(Model):
    """A key of a ConfigMap or Secret."""

    key: str
    name: str = ""
    optional: bool = False


class FileKeySelector(Model):
    volume_name: str
    path: str
    key: str
    optional: bool = False


class EnvVarSource(Model):
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None
    file_key_ref: FileKeySelector | None = None


class EnvVar(Model):
    name: str
    value: str = ""
    value_from: EnvVarSource | None = None


class EnvSource(Model):
    """A whole ConfigMap or Secret."""

    name: str = ""
    optional: bool = False


class EnvFromSource(Model):
    prefix: str = ""
    config_map_ref: EnvSource | None = None
    secret_ref: EnvSource | None = None


class ResourceClaimUse(Model):
    name: str
    request: str = ""


class ResourceRequirements(Model):
    """Quantities by resource name, as canonical strings."""

    limits: dict[str, str] = {}
    requests: dict[str, str] = {}
    claims: list[ResourceClaimUse] = []


class VolumeMount(Model):
    name: str
    mount_path: str
    sub_path: str = ""
    sub_path_expr: str = ""
    read_only: bool = False
    recursive_read_only: str = ""
    mount_propagation: str = ""


class VolumeDevice(Model):
    name: str
    device_path: str


class ExecAction(Model):
    command: list[str] = []


class HttpHeader(Model):
    name: str
    value: str = ""


class HttpGetAction(Model):
    port: IntOrString
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    http_headers: list[HttpHeader] = []


class TcpSocketAction(Model):
    port: IntOrString
    host: str = ""


class GrpcAction(Model):
    port: int
    service: str = ""


class SleepAction(Model):
    seconds: int = 0


class Probe(Model):
    """Times in seconds."""

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    grpc: GrpcAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class LifecycleHandler(Model):
    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(Model):
    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    stop_signal: str = ""


class Capabilities(Model):
    add: list[str] = []
    drop: list[str] = []


class SeccompProfile(Model):
    """Also an AppArmorProfile: the two have one shape."""

    type: str
    localhost_profile: str = ""


class SELinuxOptions(Model):
    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


class SecurityContext(Model):
    """None: not set, so what the pod says holds."""

    privileged: bool = False
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool = False
    allow_privilege_escalation: bool | None = None
    capabilities: Capabilities = Capabilities()
    seccomp_profile: SeccompProfile | None = None
    app_armor_profile: SeccompProfile | None = None
    se_linux_options: SELinuxOptions | None = None
    proc_mount: str = "Default"


class ContainerResizePolicy(Model):
    resource_name: str
    restart_policy: str = "NotRequired"


class RestartRuleExitCodes(Model):
    operator: str
    values: list[int] = []


class RestartRule(Model):
    action: str
    exit_codes: RestartRuleExitCodes | None = None


class Container(Model):
    """`restart_policy` and `restart_policy_rules` are the container's own; "Always" on an init container: a sidecar."""

    name: str
    image: str = ""
    image_pull_policy: str = ""
    command: list[str] = []
    args: list[str] = []
    working_dir: str = ""
    ports: list[ContainerPort] = []
    env: list[EnvVar] = []
    env_from: list[EnvFromSource] = []
    resources: ResourceRequirements = ResourceRequirements()
    resize_policy: list[ContainerResizePolicy] = []
    volume_mounts: list[VolumeMount] = []
    volume_devices: list[VolumeDevice] = []
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    security_context: SecurityContext = SecurityContext()
    restart_policy: str | None = None
    restart_policy_rules: list[RestartRule] = []
    termination_message_path: str = "/dev/termination-log"
    termination_message_policy: str = "File"
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    # Of ephemeral containers only: the container whose process namespace it joins.
    target_container_name: str = ""

    @property
    def sidecar(self) -> bool:
        return self.restart_policy == "Always"
