"""`tiphys up`: from nothing, or from whatever is there, to a cluster whose node is Ready."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tiphys.main import kubeconfig
from tiphys.main.cluster import DEFAULT_NAME, Cluster, ClusterError, Settings
from tiphys.main.link import link_kubectl
from tiphys.main.pki import Leaf, Pki
from tiphys.main.progress import Progress

_READY_SECONDS = 60.0
_TOOLS = {
    "containerd": "containerd", "runc": "runc", "nft": "nftables", "ip": "iproute2",
}  # fmt: skip


def up(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        "tiphys up", description="Start a cluster on this machine. Idempotent; returns when its node is Ready."
    )
    parser.add_argument("name", nargs="?", default=DEFAULT_NAME, help="its name (default: %(default)s)")
    options = parser.parse_args(arguments)
    progress = Progress()
    try:
        cluster = Cluster(options.name)
        check_machine()
        with cluster.locked():
            fresh = not cluster.exists
            try:
                asyncio.run(start(cluster, progress))
            except (ClusterError, TimeoutError, OSError):
                if fresh:
                    take_back(cluster)
                raise
    except (ClusterError, TimeoutError, OSError) as error:
        progress.fail(str(error))
        return 1
    return 0


def take_back(cluster: Cluster) -> None:
    """Leave nothing behind of a cluster that did not come up, but its logs' last words in the message."""
    from tiphys.main import down

    asyncio.run(down.stop(cluster, purge=True))
    down.remove(cluster, purge=True)


def check_machine() -> None:
    """Raise ClusterError for what this machine lacks, with what to do about it."""
    if os.geteuid() != 0:
        raise ClusterError("`tiphys up` needs root, for network namespaces and cgroups; run it with sudo")
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    missing = [package for tool, package in _TOOLS.items() if shutil.which(tool, path=path) is None]
    if not any((Path(directory) / "bridge").exists() for directory in ("/usr/lib/cni", "/opt/cni/bin")):
        missing.append("containernetworking-plugins")
    if missing:
        raise ClusterError(
            f"not installed here: {', '.join(missing)}; `apt-get install {' '.join(missing)}` installs them"
        )
    if not Path("/sys/fs/cgroup").is_dir():
        raise ClusterError("this kernel has no cgroups mounted under /sys/fs/cgroup; containers need them")


def leaves(settings: Settings) -> dict[str, Leaf]:
    """The certificates of a cluster of one node."""
    services = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    names = ["localhost", "127.0.0.1", "::1", settings.node, settings.address, str(settings.services[1]), *services]
    return {
        "server": Leaf("kube-apiserver", names=list(dict.fromkeys(names))),
        "server-client": Leaf("kube-apiserver-kubelet-client", ["system:masters"]),
        "admin": Leaf("kubernetes-admin", ["system:masters"]),
        "agent": Leaf(f"system:node:{settings.node}", ["system:nodes"]),
        "kubelet": Leaf(
            f"system:node:{settings.node}", ["system:nodes"], [settings.node, settings.address, "127.0.0.1"]
        ),
    }


async def start(cluster: Cluster, progress: Progress) -> None:
    """Start what does not run yet and wait until the node is Ready."""
    from tiphys.node import process

    settings = cluster.create()
    Pki(cluster.pki).ensure(cluster.name, leaves(settings))
    kubeconfig.write(cluster, settings)
    progress.step(f"cluster {cluster.name}: API server at {settings.server_url}")
    for role in ("server", "agent"):
        if process.load(cluster.pidfile(role)) is None:
            _check_port(role, settings)
            command = [sys.executable, "-m", "tiphys.main.entry", role, "--cluster", cluster.name]
            process.spawn(command, cluster.logs / f"{role}.log").save(cluster.pidfile(role))
    await _wait_ready(cluster, settings)
    current = kubeconfig.merge_into_home(cluster, settings)
    link_kubectl()
    hint = "kubectl get pods -A" if current == cluster.name else f"kubectl config use-context {cluster.name}"
    progress.done(f"node {settings.node} is Ready; try `{hint}`")


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


async def _wait_ready(cluster: Cluster, settings: Settings) -> None:
    """Wait for the server, then watch its nodes until ours is Ready."""
    import msgspec

    from tiphys.base.backoff import Backoff
    from tiphys.client.client import Client
    from tiphys.client.http import Https
    from tiphys.client.transport import Unreachable
    from tiphys.kinds.core.node import NODES, Node

    client = Client(
        Https([settings.server_url], Pki(cluster.pki).client_tls("admin"), agent="tiphys-up"), manager="tiphys-up"
    )
    backoff, failures = Backoff(0.02, 0.2, 1.3), 0
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while True:
                _check_alive(cluster)
                try:
                    async with client.of(NODES).watch(fieldSelector=f"metadata.name={settings.node}") as events:
                        async for _, data in events:
                            if msgspec.json.decode(data, type=Node).ready:
                                return
                except Unreachable:
                    await asyncio.sleep(backoff.delay(failures))
                    failures += 1
    except TimeoutError:
        raise TimeoutError(
            f"node {settings.node} was not Ready after {_READY_SECONDS:.0f} s; see {cluster.logs}"
        ) from None
    finally:
        await client.close()


def _check_alive(cluster: Cluster) -> None:
    from tiphys.node import process

    for role in ("server", "agent"):
        if process.load(cluster.pidfile(role)) is None:
            log = cluster.logs / f"{role}.log"
            last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it wrote nothing"]
            raise ClusterError(f"the {role} ended while starting ({last[0]}); see {log}")
