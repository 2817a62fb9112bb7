"""A pod's sandbox and containers as the runtime is to make them. Files it needs are made by pod_files.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tiphys.kinds.core.container import Container
from tiphys.kinds.core.pod import Pod
from tiphys.kubelet import network, resources, security
from tiphys.kubelet.environment import expand
from tiphys.kubelet.identity import container_hash, container_labels, log_directory, pod_labels
from tiphys.kubelet.network import ClusterDns
from tiphys.kubelet.runtime import (
    HASH,
    MESSAGE_PATH,
    MESSAGE_POLICY,
    ContainerSpec,
    DeviceNode,
    Image,
    Mount,
    PortMapping,
    SandboxSpec,
    Seccomp,
)


@dataclass(frozen=True, slots=True)
class Host:
    """What of the node goes into specs; `memory` in bytes."""

    logs: str
    cgroup_parent: str
    dns: ClusterDns
    memory: int
    seccomp_root: str = ""


def sandbox_spec(pod: Pod, attempt: int, host: Host, handler: str = "") -> SandboxSpec:
    spec, rules = pod.spec, pod.spec.security_context
    ports = tuple(
        PortMapping(port.container_port, port.host_port, port.protocol, port.host_ip)
        for container in (*spec.init_containers, *spec.containers)
        for port in container.ports
        if port.host_port and not spec.host_network
    )
    seccomp = security.profile(rules.seccomp_profile, host.seccomp_root)
    return SandboxSpec(
        pod.metadata.name, pod.metadata.namespace, str(pod.metadata.uid), attempt, network.hostname(pod),
        log_directory(host.logs, pod), host.cgroup_parent, network.dns(pod, host.dns), ports,
        pod_labels(pod), pod.metadata.annotations, {item.name: item.value for item in rules.sysctls},
        spec.host_network, spec.host_pid, spec.host_ipc, spec.share_process_namespace,
        any(container.security_context.privileged for container in spec.all_containers()),
        rules.run_as_user, rules.run_as_group, security.groups(pod), seccomp or Seccomp("RuntimeDefault"), handler,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parts:
    """What a container's spec is put together from; `target_id` is the container an ephemeral one looks into.

    `devices` and `cdi_devices` are those of its claims: device nodes, and names for runtimes that know them.
    """

    image: Image
    env: Mapping[str, str]
    mounts: Sequence[Mount]
    target_id: str = ""
    devices: Sequence[DeviceNode] = ()
    cdi_devices: Sequence[str] = ()


def container_spec(pod: Pod, container: Container, attempt: int, parts: Parts, host: Host) -> ContainerSpec:
    """Raises security.NotAllowed."""
    rules = security.effective(pod, container, parts.image, host.seccomp_root)
    if parts.target_id:
        rules = replace(rules, target_id=parts.target_id)
    notes = {
        HASH: container_hash(container), MESSAGE_PATH: container.termination_message_path,
        MESSAGE_POLICY: container.termination_message_policy,
    }  # fmt: skip

    def expanded(words: Iterable[str]) -> tuple[str, ...]:
        return tuple(expand(word, parts.env) for word in words)

    return ContainerSpec(
        container.name, attempt, parts.image.id or container.image, expanded(container.command),
        expanded(container.args), container.working_dir, tuple(parts.env.items()), tuple(parts.mounts),
        container_labels(pod, container.name), notes, f"{container.name}/{attempt}.log",
        container.stdin, container.stdin_once, container.tty,
        resources.container_resources(pod, container, host.memory), rules,
        tuple(parts.devices), tuple(parts.cdi_devices),
    )  # fmt: skip
