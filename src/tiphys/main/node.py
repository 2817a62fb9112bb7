"""What a node is on this machine: its places, its private containerd, its network, and how all of it ends."""

from __future__ import annotations

import asyncio
import ipaddress
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tiphys.base.clock import Clock, SystemClock
from tiphys.base.log import Log
from tiphys.main.node_settings import NodeSettings
from tiphys.node import cni, iproute, mounts
from tiphys.node.containerd import Containerd, ContainerdConfig
from tiphys.node.record import Record

_log = Log("node")
_LINK_KIND = "link"
_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_BRIDGED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


def containerd_of(node: NodeSettings, clock: Clock | None = None) -> Containerd:
    config = ContainerdConfig(
        root=node.state / "containerd",
        state=node.run / "containerd",
        cni_conf=node.run / "cni",
        cgroup_root=node.cgroup_root,
    )
    return Containerd(config, clock)


def kubelet_root(node: NodeSettings) -> Path:
    return node.state / "kubelet"


def service_table(node: NodeSettings) -> str:
    """The nftables table of the cluster's Services."""
    return f"tiphys-{node.cluster}"


def record_of(node: NodeSettings) -> Record:
    return Record(node.run / "effects.jsonl")


class PodNetwork:
    """The bridge that pods hang on, with the node's address on it and the address of cluster DNS."""

    def __init__(self, node: NodeSettings, record: Record) -> None:
        self._node, self._record = node, record
        self._cidrs: Sequence[str] = ()
        self._known = asyncio.Event()
        self.ready = asyncio.Event()

    def configure(self, cidrs: Sequence[str]) -> bool:
        """Tell the CNI plugins the node's range; from then on pods can have addresses."""
        network = cni.PodNetwork(self._node.cluster, cidrs, mtu=self._node.mtu)
        config = containerd_of(self._node).config
        cni.write(network, config.cni_conf, self._node.run / "ipam")
        self._cidrs = tuple(cidrs)
        self._known.set()
        return True

    async def run(self) -> None:
        """Make the bridge and its addresses as soon as the node's range is known."""
        await self._known.wait()
        bridge = self._node.bridge
        self._record.add(_LINK_KIND, bridge)
        gateways = [f"{ipaddress.ip_network(cidr)[1]}/{ipaddress.ip_network(cidr).prefixlen}" for cidr in self._cidrs]
        if not iproute.exists(bridge):
            await iproute.batch([f"link add {bridge} type bridge"])
        await iproute.batch(
            [
                f"link set {bridge} address {iproute.hardware_address(f'{bridge}/{self._node.name}')} up",
                *(f"addr replace {gateway} dev {bridge}" for gateway in gateways),
                f"addr replace {self._node.dns}/32 dev {bridge}",
                # Without a default route, nothing would be sent towards Services for the kernel to translate.
                f"route replace {self._node.services} dev {bridge} src {gateways[0].partition('/')[0]}",
            ]
        )
        await asyncio.to_thread(forward)
        self.ready.set()


def forward() -> None:
    """Let the kernel pass packets between pods and the world, and show it those between pods of one node.

    Without the latter, answers of a Service on the same bridge would not be translated back, and no network policy
    would see them. Raises OSError.
    """
    if not _BRIDGED.exists():
        with suppress(OSError):
            subprocess.run(["modprobe", "br_netfilter"], check=False, capture_output=True)  # noqa: S607
    for path in (_FORWARD, _BRIDGED):
        try:
            if path.read_text().strip() != "1":
                path.write_text("1\n")
        except FileNotFoundError:
            _log.error("the kernel has no br_netfilter: Services and network policies do not work between pods of "
                       "this node; load the module of this name", path=path)  # fmt: skip


async def undo(node: NodeSettings, *, purge: bool) -> list[str]:
    """Remove containers, containerd, mounts, links and tables, once the agent has ended; what could not be undone."""
    await containerd_of(node, SystemClock()).destroy(purge=purge)
    failures: list[str] = []
    if not node.network_namespace:
        failures = await asyncio.to_thread(record_of(node).undo)
    # What a node in namespaces made inside them is gone with them, so its record is only thrown away.
    await asyncio.to_thread(mounts.unmount_below, str(node.state))
    await asyncio.to_thread(mounts.unmount_below, str(node.run))
    return failures
