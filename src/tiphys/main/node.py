"""What a cluster's node is on this machine: its places, its private containerd, its network, and how all of it ends."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from tiphys.base.clock import Clock, SystemClock
from tiphys.base.log import Log
from tiphys.main.cluster import Cluster, ClusterError, Settings
from tiphys.node import cni, iproute, mounts
from tiphys.node.containerd import Containerd, ContainerdConfig
from tiphys.node.record import Record

_log = Log("node")
_LINK_KIND, _TABLE_KIND = "link", "nft_table"


def containerd_of(cluster: Cluster, clock: Clock | None = None) -> Containerd:
    config = ContainerdConfig(
        root=cluster.state / "containerd",
        state=cluster.run / "containerd",
        cni_conf=cluster.run / "cni",
        cgroup_root=f"/tiphys-{cluster.name}",
    )
    return Containerd(config, clock)


def kubelet_root(cluster: Cluster) -> Path:
    return cluster.state / "kubelet"


def service_table(cluster: Cluster) -> str:
    """The nftables table of the cluster's Services."""
    return f"tiphys-{cluster.name}"


def record_of(cluster: Cluster) -> Record:
    return Record(cluster.run / "effects.jsonl")


class PodNetwork:
    """The bridge that pods hang on, with the node's address on it and the address of cluster DNS."""

    def __init__(self, cluster: Cluster, settings: Settings, record: Record) -> None:
        self._cluster, self._settings, self._record = cluster, settings, record
        self.bridge = cni.bridge_name(cluster.name)
        self._cidrs: Sequence[str] = ()
        self._known = asyncio.Event()
        self.ready = asyncio.Event()

    def configure(self, cidrs: Sequence[str]) -> bool:
        """Tell the CNI plugins the node's range; from then on pods can have addresses."""
        network = cni.PodNetwork(self._cluster.name, cidrs)
        config = containerd_of(self._cluster).config
        cni.write(network, config.cni_conf, self._cluster.run / "ipam")
        self._cidrs = tuple(cidrs)
        self._known.set()
        return True

    async def run(self) -> None:
        """Make the bridge and its addresses as soon as the node's range is known."""
        await self._known.wait()
        self._record.add(_LINK_KIND, self.bridge)
        gateways = [f"{ipaddress.ip_network(cidr)[1]}/{ipaddress.ip_network(cidr).prefixlen}" for cidr in self._cidrs]
        if not await asyncio.to_thread(Path("/sys/class/net", self.bridge).exists):
            await iproute.batch([f"link add {self.bridge} type bridge"])
        await iproute.batch(
            [
                f"link set {self.bridge} up",
                *(f"addr replace {gateway} dev {self.bridge}" for gateway in gateways),
                f"addr replace {self._settings.dns}/32 dev {self.bridge}",
                # Without a default route, nothing would be sent towards Services for the kernel to translate.
                f"route replace {self._settings.services} dev {self.bridge} src {gateways[0].partition('/')[0]}",
            ]
        )
        await asyncio.to_thread(_forward)
        self.ready.set()


def _forward() -> None:
    """Let the kernel pass packets between pods and the world."""
    path = Path("/proc/sys/net/ipv4/ip_forward")
    if path.read_text().strip() != "1":
        path.write_text("1\n")


async def undo(cluster: Cluster, *, purge: bool) -> None:
    """Remove containers, containerd, mounts, links and tables, once the agent has ended. Raises ClusterError."""
    await containerd_of(cluster, SystemClock()).destroy(purge=purge)
    failures = await asyncio.to_thread(record_of(cluster).undo)
    await asyncio.to_thread(mounts.unmount_below, str(cluster.state))
    await asyncio.to_thread(mounts.unmount_below, str(cluster.run))
    if failures:
        raise ClusterError(f"could not take back: {'; '.join(failures)}; run `tiphys down {cluster.name}` again")
