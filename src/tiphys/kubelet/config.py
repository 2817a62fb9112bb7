"""What a kubelet is told at its start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tiphys.kubelet.network import ClusterDns


@dataclass(frozen=True, slots=True)
class KubeletConfig:
    """`root` keeps pods' directories, `run` what must not reach a disk, `logs` the containers' logs.

    Intervals in seconds. `capacity` overrides what the host has (quantities by resource name).
    """

    node_name: str
    root: Path
    run: Path
    logs: Path
    addresses: Sequence[str]
    cgroup_root: str = ""
    dns: ClusterDns = field(default_factory=ClusterDns)
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()
    max_pods: int = 110
    capacity: Mapping[str, str] = field(default_factory=dict)
    # Kept from pods, for the system and for this kubelet.
    reserved: Mapping[str, str] = field(default_factory=dict)
    port: int = 10250
    # A node that is silent for so long is given up; three renewals in a row must fail for that. A second less than the
    # twelve within which a dead node is to be known as such, which leaves that second to the one who finds it out.
    lease_seconds: int = 11
    lease_renew_seconds: float = 3.0
    # One renewal: a server that hangs must leave time to ask another, several times.
    lease_renew_within: float = 2.5
    # How often the runtime and what runs short are looked at.
    look_seconds: float = 10.0
    status_seconds: float = 300.0
    relist_seconds: float = 60.0
    # When the machine goes down: what pods have to end, and what of that is for critical ones. With priorities, each
    # pair is (least priority, seconds) instead.
    shutdown_grace_period: float = 30.0
    shutdown_grace_period_critical_pods: float = 10.0
    shutdown_grace_period_by_pod_priority: Sequence[tuple[int, float]] = ()
    seccomp_root: str = ""
    # Where drivers say what their devices are; of two specs of one device the later directory's counts.
    cdi: Sequence[Path] = (Path("/etc/cdi"), Path("/var/run/cdi"))
    register: bool = True
    provider_id: str = ""
    # A simulated node has no host: no files, cgroups or processes of its own.
    simulated: bool = False

    @property
    def volumes(self) -> Path:
        """The directory of volumes that are made for claims: beside `root`, for they outlive all pods."""
        return self.root.parent / "volumes"
