"""PodSpec and PodTemplateSpec as components read them; every workload kind holds one."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.core.affinity import Affinity, Toleration, TopologySpreadConstraint
from tiphys.kinds.core.container import Container, ResourceRequirements, SeccompProfile, SELinuxOptions
from tiphys.kinds.core.volume import Volume


class Sysctl(Model):
    name: str
    value: str


class PodSecurityContext(Model):
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    fs_group: int | None = None
    fs_group_change_policy: str = "Always"
    supplemental_groups: list[int] = []
    supplemental_groups_policy: str = "Merge"
    sysctls: list[Sysctl] = []
    seccomp_profile: SeccompProfile | None = None
    app_armor_profile: SeccompProfile | None = None
    se_linux_options: SELinuxOptions | None = None


class LocalObjectReference(Model):
    name: str = ""


class HostAlias(Model):
    ip: str
    hostnames: list[str] = []


class DnsConfigOption(Model):
    name: str
    value: str | None = None


class DnsConfig(Model):
    nameservers: list[str] = []
    searches: list[str] = []
    options: list[DnsConfigOption] = []


class PodReadinessGate(Model):
    condition_type: str


class PodSchedulingGate(Model):
    name: str


class PodOs(Model):
    name: str


class PodSchedulingGroup(Model):
    pod_group_name: str = ""


class PodResourceClaim(Model):
    """A claim by its name, or by the template that one is made from for this pod."""

    name: str
    resource_claim_name: str = ""
    resource_claim_template_name: str = ""


class PodSpec(Model):
    """Missing fields have the values that defaulting gives them."""

    containers: list[Container] = []
    init_containers: list[Container] = []
    ephemeral_containers: list[Container] = []
    volumes: list[Volume] = []
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    active_deadline_seconds: int | None = None
    dns_policy: str = "ClusterFirst"
    dns_config: DnsConfig | None = None
    node_selector: dict[str, str] = {}
    node_name: str = ""
    service_account_name: str = ""
    automount_service_account_token: bool | None = None
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    host_users: bool | None = None
    share_process_namespace: bool = False
    security_context: PodSecurityContext = PodSecurityContext()
    image_pull_secrets: list[LocalObjectReference] = []
    hostname: str = ""
    hostname_override: str | None = None
    subdomain: str = ""
    set_hostname_as_fqdn: bool = False
    affinity: Affinity = Affinity()
    tolerations: list[Toleration] = []
    topology_spread_constraints: list[TopologySpreadConstraint] = []
    scheduler_name: str = "default-scheduler"
    scheduling_gates: list[PodSchedulingGate] = []
    priority: int = 0
    priority_class_name: str = ""
    preemption_policy: str = "PreemptLowerPriority"
    runtime_class_name: str = ""
    overhead: dict[str, str] = {}
    enable_service_links: bool = True
    host_aliases: list[HostAlias] = []
    readiness_gates: list[PodReadinessGate] = []
    os: PodOs | None = None
    resources: ResourceRequirements = ResourceRequirements()
    scheduling_group: PodSchedulingGroup | None = None
    resource_claims: list[PodResourceClaim] = []

    def all_containers(self) -> Iterator[Container]:
        """Init, regular and ephemeral containers, in this order."""
        yield from self.init_containers
        yield from self.containers
        yield from self.ephemeral_containers


class PodTemplateSpec(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
