"""`tiphys up`: from nothing, or from whatever is there, to a cluster whose nodes are Ready."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tiphys.main import etcd, keep, kubeconfig
from tiphys.main.cluster import DEFAULT_NAME, MAX_NODES, MAX_SIMULATED, Cluster, ClusterError, Settings
from tiphys.main.link import link_kubectl
from tiphys.main.pki import Leaf, Pki
from tiphys.main.progress import Progress
from tiphys.main.readiness import wait_ready

if TYPE_CHECKING:
    from tiphys.main.node_settings import NodeSettings

_STOP_SECONDS, _SHARING_SECONDS = 10.0, 60.0
_TOOLS = {
    "containerd": "containerd", "runc": "runc", "nft": "nftables", "ip": "iproute2",
}  # fmt: skip


def up(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        "tiphys up", description="Start a cluster on this machine. Idempotent; returns when its nodes are Ready."
    )
    parser.add_argument("name", nargs="?", default=DEFAULT_NAME, help="its name (default: %(default)s)")
    parser.add_argument(
        "--nodes", type=_node_count, metavar="N", help="how many nodes it has (default: those it has, or 1); may grow"
    )
    parser.add_argument(
        "--max-nodes", type=_node_count, metavar="N",
        help="have nodes added up to this number when pods find no place, and removed again when they are not needed",
    )  # fmt: skip
    parser.add_argument(
        "--scale-down-after", type=float, metavar="SECONDS", help="how long an added node may idle (default: 60)"
    )
    parser.add_argument("--keep-min-nodes", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--control-planes", type=_node_count, metavar="N",
        help="how many of the nodes are control planes (default: those it has, or 1); several keep their state in etcd",
    )  # fmt: skip
    parser.add_argument(
        "--simulate", type=_simulated_count, metavar="N",
        help="N nodes that only say that they run pods; needs no root",
    )  # fmt: skip
    parser.add_argument(
        "--behaviours", type=_behaviours, metavar="FILE",
        help="YAML: how fast pods on simulated nodes start, what goes wrong with them, what they use",
    )  # fmt: skip
    parser.add_argument(
        "--virtual-address", type=ipaddress.IPv4Address, metavar="IP",
        help="an address that the control planes share, of a network that they are in; people reach the API there",
    )  # fmt: skip
    parser.add_argument(
        "--store", choices=("sqlite", "etcd"), help="where its state is kept, chosen once (default: sqlite)"
    )
    options = parser.parse_args(arguments)
    progress = Progress()
    try:
        cluster = Cluster(options.name)
        if not (options.simulate or (cluster.exists and cluster.settings().simulated)):
            check_machine(options.store or ("etcd" if (options.control_planes or 1) > 1 else None))
        with cluster.locked():
            fresh = not cluster.exists
            try:
                wanted = Wanted(
                    options.nodes, options.store, options.control_planes, options.virtual_address, options.simulate,
                    Range(options.max_nodes, options.scale_down_after, keep=options.keep_min_nodes),
                    options.behaviours,
                )  # fmt: skip
                keep.resume(cluster)
                asyncio.run(start(cluster, progress, wanted))
            except (ClusterError, TimeoutError, OSError):
                if fresh:
                    take_back(cluster)
                raise
        keep.tell(cluster)
    except (ClusterError, TimeoutError, OSError) as error:
        progress.fail(str(error))
        return 1
    return 0


def _node_count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MAX_NODES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MAX_NODES}")
    return int(text)


def _simulated_count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MAX_SIMULATED:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MAX_SIMULATED}")
    return int(text)


def _behaviours(name: str) -> dict[str, Any]:
    import yaml

    from tiphys.main.simulation import behaviours

    try:
        found: dict[str, Any] = yaml.safe_load(Path(name).read_text()) or {}
        behaviours(found)
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise argparse.ArgumentTypeError(f"{name} does not say how simulated nodes behave: {error}") from None
    return found


def take_back(cluster: Cluster) -> None:
    """Leave nothing behind of a cluster that did not come up, but its logs' last words in the message."""
    from tiphys.main import down

    asyncio.run(down.stop(cluster, purge=True))
    down.remove(cluster, purge=True)


def check_machine(store: str | None = None) -> None:
    """Raise ClusterError for what this machine lacks, with what to do about it."""
    if os.geteuid() != 0:
        raise ClusterError("`tiphys up` needs root, for network namespaces and cgroups; run it with sudo")
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    wanted = _TOOLS | ({"etcd": "etcd-server"} if store == "etcd" else {})
    missing = [package for tool, package in wanted.items() if shutil.which(tool, path=path) is None]
    if not any((Path(directory) / "bridge").exists() for directory in ("/usr/lib/cni", "/opt/cni/bin")):
        missing.append("containernetworking-plugins")
    if missing:
        raise ClusterError(
            f"not installed here: {', '.join(missing)}; `apt-get install {' '.join(missing)}` installs them"
        )
    if not Path("/sys/fs/cgroup").is_dir():
        raise ClusterError("this kernel has no cgroups mounted under /sys/fs/cgroup; containers need them")


def leaves(settings: Settings, nodes: Sequence[NodeSettings]) -> dict[str, Leaf]:
    """The certificates of a cluster and of its nodes on this machine."""
    services = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    names = ["localhost", settings.node, "127.0.0.1", "::1", str(settings.services[1]), *addresses(settings, nodes)]
    found = {
        "server": Leaf("kube-apiserver", names=list(dict.fromkeys([*names, *services]))),
        "server-client": Leaf("kube-apiserver-kubelet-client", ["system:masters"]),
        "admin": Leaf("kubernetes-admin", ["system:masters"]),
    }
    for node in nodes:
        user, groups = f"system:node:{node.name}", ["system:nodes"]
        found[node.client] = Leaf(user, groups)
        found[node.serving] = Leaf(user, groups, [node.name, node.address, "127.0.0.1"])
    return found


def addresses(settings: Settings, nodes: Sequence[NodeSettings]) -> list[str]:
    """Where the control planes on this machine are found."""
    own = [settings.address, str(settings.underlay[1]), *(node.address for node in nodes if node.control_plane)]
    return [*own, settings.virtual_address] if settings.virtual_address else own


@dataclass(frozen=True, slots=True)
class Range:
    """Of the cluster autoscaler. `keep` tells that nodes are asked for by itself, and are no new minimum."""

    most: int | None = None
    seconds: float | None = None
    keep: bool = False

    def settle(self, cluster: Cluster, settings: Settings, nodes: int | None) -> Settings:
        """Keep what was asked for. Raises ClusterError for a maximum below what there is."""
        least, most = settings.min_nodes, settings.max_nodes if self.most is None else self.most
        if not self.keep and (nodes is not None or self.most is not None):
            least = nodes or len(settings.numbers) if self.most is not None else nodes or least
        if most and least > most:
            raise ClusterError(f"cluster {cluster.name!r} cannot have at least {least} nodes and at most {most}")
        seconds = settings.scale_down_seconds if self.seconds is None else self.seconds
        wanted = msgspec.structs.replace(settings, min_nodes=least, max_nodes=most, scale_down_seconds=seconds)
        if wanted != settings:
            cluster.save(wanted)
        return wanted


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a cluster is to have; None: what it has, or the default."""

    nodes: int | None = None
    store: str | None = None
    control_planes: int | None = None
    virtual_address: ipaddress.IPv4Address | None = None
    simulated: int | None = None
    range: Range = Range()
    # How simulated nodes behave.
    behaviours: dict[str, Any] | None = None


async def start(cluster: Cluster, progress: Progress, wanted: Wanted = Wanted()) -> None:
    """Start what does not run yet and wait until all nodes are Ready."""
    from tiphys.main import machine
    from tiphys.main.node_settings import node_of, nodes_of

    before = cluster.settings() if cluster.exists else None
    if wanted.simulated or (before is not None and before.simulated):
        await _start_simulated(cluster, progress, before, wanted)
        return
    if wanted.behaviours is not None:
        raise ClusterError("--behaviours is for simulated nodes; say --simulate N too")
    settings = cluster.create(wanted.nodes, wanted.store, wanted.control_planes)
    settings = wanted.range.settle(cluster, settings, wanted.nodes)
    if before is not None and (before.max_nodes, before.min_nodes) != (settings.max_nodes, settings.min_nodes):
        _reload(node_of(cluster, settings, 1))
    if wanted.virtual_address is not None:
        settings = await _share(cluster, settings, str(wanted.virtual_address))
    nodes = nodes_of(cluster, settings)
    planes = [node for node in nodes if node.control_plane]
    keeps_etcd = settings.store == "etcd"
    if settings.joined:
        from tiphys.main import join

        join.check(cluster)
    if planes:
        others = {etcd.CA: etcd.leaves(addresses(settings, nodes))} if keeps_etcd else None
        Pki(cluster.pki).ensure(cluster.name, leaves(settings, nodes), others)
        kubeconfig.write(cluster, settings)
    progress.step(f"cluster {cluster.name}: API server at {settings.server_url}")
    if keeps_etcd and not settings.joined:
        etcd.plan(planes)
    if before is not None and before.virtual_address != settings.virtual_address:
        # Its server was alone until now: it is to know of the address, and to show it in its certificate.
        await _stop(nodes[0].pidfile("server"))
    if len(planes) <= 1:
        _start_first(cluster, settings, nodes[0])
    if len(nodes) > 1:
        progress.step(f"{len(nodes)} nodes, {len(planes)} of them control planes, on network {settings.underlay}")
        await machine.ensure(cluster, settings, nodes[1:])
    if len(planes) > 1 and len(planes) % 2 == 0:
        progress.step(f"{len(planes)} control planes bear no greater loss than {len(planes) - 1}; add one")
    if len(planes) > 1:
        # They find each other on the network of the nodes.
        _start_first(cluster, settings, nodes[0])
    for node in nodes[1:]:
        if node.control_plane:
            start_process("server", node)
        start_process("agent", node)
    sharing = asyncio.create_task(_share_images(nodes, progress))
    try:
        await wait_ready(cluster, nodes)
        await sharing
    finally:
        sharing.cancel()
    if not planes:
        progress.done(f"node {settings.node} is Ready")
        return
    current = kubeconfig.merge_into_home(cluster, settings)
    link_kubectl()
    hint = "kubectl get pods -A" if current == cluster.name else f"kubectl config use-context {cluster.name}"
    ready = f"node {settings.node} is Ready" if len(nodes) == 1 else f"{len(nodes)} nodes are Ready"
    progress.done(f"{ready}; try `{hint}`")


async def _start_simulated(cluster: Cluster, progress: Progress, before: Settings | None, wanted: Wanted) -> None:
    """A server whose nodes are simulated within it."""
    from tiphys.main.node_settings import node_of
    from tiphys.main.simulation import SimulatedNodes

    others = (wanted.nodes, wanted.store, wanted.control_planes, wanted.virtual_address)
    if any(other is not None for other in others) or (before is not None and not before.simulated):
        raise ClusterError(
            f"cluster {cluster.name!r} is to have simulated nodes, and such a cluster has no others, one control plane "
            "and SQLite; give it another name"
        )
    count = wanted.simulated or (before.simulated if before is not None else 0)
    held = before.simulation if before is not None else {}
    settings = msgspec.structs.replace(
        cluster.create(), simulated=count, simulation=held if wanted.behaviours is None else wanted.behaviours
    )
    cluster.save(settings)
    node = node_of(cluster, settings, 1)
    Pki(cluster.pki).ensure(cluster.name, leaves(settings, [node]))
    kubeconfig.write(cluster, settings)
    progress.step(f"cluster {cluster.name}: API server at {settings.server_url}")
    if before is not None and before != settings:
        await _stop(node.pidfile("server"))
    start_process("server", node)
    names = SimulatedNodes(settings.simulated).names
    await wait_ready(cluster, [node], simulated=names)
    kubeconfig.merge_into_home(cluster, settings)
    progress.done(f"{len(names)} simulated nodes are Ready; KUBECONFIG={cluster.kubeconfig}")


async def _share(cluster: Cluster, settings: Settings, address: str) -> Settings:
    """Let the control planes share an address. Raises ClusterError where this machine cannot have it."""
    from tiphys.node.virtual_address import link_of

    if settings.store != "etcd":
        raise ClusterError(
            f"cluster {cluster.name!r} keeps its state in {settings.store}, so its only server is on this machine: it "
            f"has nobody to share an address with; `tiphys store migrate {cluster.name} --to etcd` first"
        )
    try:
        await link_of(address)
    except OSError as error:
        raise ClusterError(f"the control planes cannot share {address}: {error.strerror}") from None
    changed = msgspec.structs.replace(settings, virtual_address=address)
    cluster.save(changed)
    return changed


async def _share_images(nodes: Sequence[NodeSettings], progress: Progress) -> None:
    """Give new nodes the images that were built or imported before they were there."""
    if len(nodes) < 2:
        return
    from tiphys.base.grpc import RpcError
    from tiphys.main.image import share
    from tiphys.node.oci import ImageError

    try:
        async with asyncio.timeout(_SHARING_SECONDS):
            await share(nodes)
    except (ImageError, RpcError, OSError) as error:
        progress.step(f"local images were not shared with all nodes: {error or 'it took too long'}")


def _reload(node: NodeSettings) -> None:
    """Have the server read what changed of the settings, if it runs."""
    from tiphys.node import process

    server = process.load(node.pidfile("server"))
    if server is not None:
        server.signal(signal.SIGHUP)


async def _stop(pidfile: Path) -> None:
    from tiphys.node import process

    running = process.load(pidfile)
    if running is not None:
        await running.stop(_STOP_SECONDS)


def _start_first(cluster: Cluster, settings: Settings, node: NodeSettings) -> None:
    """Server and agent of the machine itself, where others may listen already."""
    from tiphys.node import process

    for role in ("server", "agent") if node.control_plane else ("agent",):
        if process.load(node.pidfile(role)) is None:
            _check_port(role, settings)
            start_process(role, node)


def start_process(role: str, node: NodeSettings) -> None:
    from tiphys.node import process

    if process.load(node.pidfile(role)) is None:
        words = [role, "--cluster", node.cluster, "--node", str(node.number)]
        _spawn(words, node.log(role), node.pidfile(role))


def _spawn(words: Sequence[str], log: Path, pidfile: Path) -> None:
    from tiphys.node import process

    process.spawn([sys.executable, "-m", "tiphys.main.entry", *words], log).save(pidfile)


def _check_port(role: str, settings: Settings) -> None:
    import socket

    port = settings.api_port if role == "server" else settings.kubelet_port
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - asks whether the port is free on any address
        except OSError as error:
            raise ClusterError(
                f"port {port}, where the {role} of {settings.name!r} listens, is in use ({error.strerror}); "
                f"`ss -ltnp 'sport = :{port}'` names the process to end"
            ) from error
