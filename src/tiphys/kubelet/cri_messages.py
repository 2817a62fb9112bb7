"""Translation between the kubelet's values and CRI's messages; nothing else knows both."""

from __future__ import annotations

from tiphys.kubelet.runtime import (
    CONTAINER_NAME,
    POD_UID,
    Container,
    ContainerSpec,
    Image,
    Resources,
    Sandbox,
    SandboxSpec,
    Seccomp,
    State,
)
from tiphys.node import cri_pb2 as pb

STATES = {
    pb.CONTAINER_CREATED: State.CREATED, pb.CONTAINER_RUNNING: State.RUNNING,
    pb.CONTAINER_EXITED: State.EXITED, pb.CONTAINER_UNKNOWN: State.UNKNOWN,
}  # fmt: skip
_PROTOCOLS = {"TCP": pb.TCP, "UDP": pb.UDP, "SCTP": pb.SCTP}
_PROPAGATION = {
    "None": pb.PROPAGATION_PRIVATE, "HostToContainer": pb.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": pb.PROPAGATION_BIDIRECTIONAL,
}  # fmt: skip
_PROFILES = {
    "RuntimeDefault": pb.SecurityProfile.RuntimeDefault, "Unconfined": pb.SecurityProfile.Unconfined,
    "Localhost": pb.SecurityProfile.Localhost,
}  # fmt: skip
_NANO = 1e9
# What upstream hides of /proc and /sys in a container with the default procMount.
MASKED = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def sandbox(item: pb.PodSandbox, ips: tuple[str, ...]) -> Sandbox:
    meta = item.metadata
    return Sandbox(
        item.id, item.labels.get(POD_UID, meta.uid), meta.name, meta.namespace, meta.attempt,
        item.state == pb.SANDBOX_READY, item.created_at / _NANO, ips,
    )  # fmt: skip


def listed_container(item: pb.Container) -> Container:
    """A container as a list has it: without start, end and exit code."""
    return Container(
        item.id, item.pod_sandbox_id, item.labels.get(POD_UID, ""), item.labels.get(CONTAINER_NAME, item.metadata.name),
        item.metadata.attempt, STATES[item.state], item.created_at / _NANO,
        image=item.image.image, image_id=item.image_ref, annotations=dict(item.annotations),
    )  # fmt: skip


def container(item: pb.Container, status: pb.ContainerStatus) -> Container:
    return Container(
        item.id, item.pod_sandbox_id, item.labels.get(POD_UID, ""), item.labels.get(CONTAINER_NAME, item.metadata.name),
        item.metadata.attempt, STATES[status.state], status.created_at / _NANO, status.started_at / _NANO,
        status.finished_at / _NANO, status.exit_code, status.reason, status.message, status.image.image,
        status.image_ref, status.log_path, dict(item.annotations),
        _limits(status.resources.linux) if status.resources.HasField("linux") else None,
    )  # fmt: skip


def _limits(linux: pb.LinuxContainerResources) -> Resources:
    return Resources(linux.cpu_shares, max(0, linux.cpu_quota), linux.memory_limit_in_bytes, linux.oom_score_adj)


def image(item: pb.Image) -> Image:
    user = item.username or (str(item.uid.value) if item.HasField("uid") else "")
    return Image(item.id, tuple(item.repo_tags), tuple(item.repo_digests), item.size, user, item.pinned)


def resources(limits: Resources) -> pb.LinuxContainerResources:
    return pb.LinuxContainerResources(
        cpu_period=100_000 if limits.cpu_quota else 0, cpu_quota=limits.cpu_quota, cpu_shares=limits.cpu_shares,
        memory_limit_in_bytes=limits.memory, oom_score_adj=limits.oom_score_adj,
    )  # fmt: skip


def _profile(profile: Seccomp | None) -> pb.SecurityProfile | None:
    if profile is None:
        return None
    return pb.SecurityProfile(profile_type=_PROFILES[profile.kind], localhost_ref=profile.path)


def _integer(value: int | None) -> pb.Int64Value | None:
    return None if value is None else pb.Int64Value(value=value)


def _namespaces(spec: SandboxSpec, target_id: str = "") -> pb.NamespaceOption:
    pid = pb.NODE if spec.host_pid else pb.POD if spec.shared_pid else pb.CONTAINER
    if target_id:
        pid = pb.TARGET
    return pb.NamespaceOption(
        network=pb.NODE if spec.host_network else pb.POD, pid=pid, ipc=pb.NODE if spec.host_ipc else pb.POD,
        target_id=target_id,
    )  # fmt: skip


def sandbox_config(spec: SandboxSpec) -> pb.PodSandboxConfig:
    security = pb.LinuxSandboxSecurityContext(
        namespace_options=_namespaces(spec), privileged=spec.privileged, run_as_user=_integer(spec.run_as_user),
        run_as_group=_integer(spec.run_as_group), supplemental_groups=spec.supplemental_groups,
        seccomp=_profile(spec.seccomp or Seccomp("RuntimeDefault")),
    )  # fmt: skip
    ports = [
        pb.PortMapping(
            protocol=_PROTOCOLS[port.protocol], container_port=port.container_port,
            host_port=port.host_port, host_ip=port.host_ip,
        )
        for port in spec.ports
    ]
    dns = pb.DNSConfig(servers=spec.dns.servers, searches=spec.dns.searches, options=spec.dns.options)
    return pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(name=spec.name, uid=spec.uid, namespace=spec.namespace, attempt=spec.attempt),
        hostname="" if spec.host_network else spec.hostname, log_directory=spec.log_directory, dns_config=dns,
        port_mappings=ports, labels=spec.labels, annotations=spec.annotations,
        linux=pb.LinuxPodSandboxConfig(
            cgroup_parent=spec.cgroup_parent, security_context=security, sysctls=spec.sysctls
        ),
    )  # fmt: skip


def container_config(spec: ContainerSpec, pod: SandboxSpec) -> pb.ContainerConfig:
    mounts = [
        pb.Mount(
            container_path=mount.container_path, host_path=mount.host_path, readonly=mount.readonly,
            propagation=_PROPAGATION[mount.propagation],
        )
        for mount in spec.mounts
    ]
    devices = [
        pb.Device(container_path=each.container_path, host_path=each.host_path, permissions=each.permissions)
        for each in spec.devices
    ]
    return pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name=spec.name, attempt=spec.attempt), image=pb.ImageSpec(image=spec.image),
        command=spec.command, args=spec.args, working_dir=spec.working_dir, mounts=mounts,
        envs=[pb.KeyValue(key=key, value=value.encode("utf-8", "surrogateescape")) for key, value in spec.env],
        labels=spec.labels, annotations=spec.annotations, log_path=spec.log_path,
        stdin=spec.stdin, stdin_once=spec.stdin_once, tty=spec.tty, devices=devices,
        CDI_devices=[pb.CDIDevice(name=name) for name in spec.cdi_devices],
        linux=pb.LinuxContainerConfig(resources=resources(spec.resources), security_context=_security(spec, pod)),
    )  # fmt: skip


def _security(spec: ContainerSpec, pod: SandboxSpec) -> pb.LinuxContainerSecurityContext:
    rules = spec.security
    hidden = rules.masked_paths and not rules.privileged
    return pb.LinuxContainerSecurityContext(
        capabilities=pb.Capability(add_capabilities=rules.add_capabilities, drop_capabilities=rules.drop_capabilities),
        privileged=rules.privileged, namespace_options=_namespaces(pod, rules.target_id),
        run_as_user=_integer(rules.run_as_user), run_as_group=_integer(rules.run_as_group),
        run_as_username=rules.run_as_username, readonly_rootfs=rules.readonly_rootfs,
        supplemental_groups=rules.supplemental_groups, no_new_privs=rules.no_new_privs,
        masked_paths=MASKED if hidden else (), readonly_paths=READONLY if hidden else (),
        seccomp=_profile(rules.seccomp), apparmor=_profile(rules.apparmor),
    )  # fmt: skip
