"""`tiphys upgrade`: put the software that is installed now to work, process by process, while everything runs.

The way back is the same: install the version before and run it again. One minor version between servers is tolerated,
as upstream does. Nothing begins unless the cluster is well; a backup is taken first; whoever leads comes last; and a
process that does not come back stops the rest. Pods are not touched: agents and servers are not their parents.
Source: https://kubernetes.io/releases/version-skew-policy/
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from tiphys import KUBERNETES_VERSION, __version__
from tiphys.api.errors import ApiError
from tiphys.main import admin
from tiphys.main.cluster import DEFAULT_NAME, Cluster, ClusterError
from tiphys.main.node_settings import NodeSettings, nodes_of
from tiphys.main.progress import Progress
from tiphys.node import process

_GRACE, _SECONDS, _PAUSE = 20.0, 60.0, 0.1
_LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-controller-manager"


def upgrade(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        "tiphys upgrade",
        description="Restart a cluster's processes on this machine, one by one, with what is installed.",
    )
    parser.add_argument("name", nargs="?", default=DEFAULT_NAME, help="its name (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="say only whether it could begin")
    parser.add_argument("--force", action="store_true", help="begin although something is not well")
    parser.add_argument("--backup", metavar="DEST", help="where the backup goes (default: as configured, or the state)")
    options = parser.parse_args(arguments)
    progress = Progress()
    try:
        if os.geteuid() != 0:
            raise ClusterError("`tiphys upgrade` needs root; run it with sudo")
        cluster = Cluster(options.name)
        with cluster.locked():
            problems = obstacles(cluster)
            if problems and not options.force:
                raise ClusterError(f"not begun: {'; '.join(problems)}; mend that, or --force")
            if options.check:
                progress.done(f"{options.name} can be upgraded to {__version__}")
                return 0
            _upgrade(cluster, progress, options.backup)
    except (ClusterError, OSError) as error:
        progress.fail(str(error))
        return 1
    progress.done(f"cluster {options.name} runs {__version__} on this machine")
    return 0


def obstacles(cluster: Cluster) -> list[str]:
    """What speaks against beginning."""
    from tiphys.main.show import gather

    found: list[str] = gather(cluster)["warnings"]
    try:
        running = admin.call(cluster, "GET", "/version")
    except (ClusterError, ApiError):
        # What does not answer is among the warnings.
        return found
    theirs, ours = running["gitVersion"].partition("+")[0], KUBERNETES_VERSION
    if abs(_minor(theirs) - _minor(ours)) > 1:
        found = [*found, f"the servers are at {theirs} and {ours} is installed: go one minor version at a time"]
    return found


def _minor(version: str) -> int:
    return int(version.split(".")[1])


def _upgrade(cluster: Cluster, progress: Progress, backup: str | None) -> None:
    nodes = nodes_of(cluster, cluster.settings())
    planes = [node for node in nodes if node.control_plane]
    if planes:
        progress.step(_backup(cluster, backup))
        leader = _leader(cluster) if len(planes) > 1 else ""
        for node in sorted(planes, key=lambda node: node.name == leader):
            progress.step(f"server of {node.name}")
            _stop(node, "server")
            _begin(cluster, node, "server", lambda node=node: _serves(cluster, node))  # type: ignore[misc]
    for node in nodes:
        progress.step(f"agent of {node.name}")
        _stop(node, "agent")
        said = _heartbeat(cluster, node)
        _begin(
            cluster, node, "agent", lambda node=node, said=said: _heartbeat(cluster, node) != said  # type: ignore[misc]
        )  # fmt: skip


def _backup(cluster: Cluster, place: str | None) -> str:
    """Take one, in a process of its own: it is the present version's, as what comes after it will be."""
    directory = cluster.state / "upgrades"
    directory.mkdir(mode=0o700, exist_ok=True)
    words = [
        sys.executable,
        "-m",
        "tiphys.main.entry",
        "backup",
        "create",
        cluster.name,
        "--to",
        place or str(directory),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        raise ClusterError(f"no backup could be taken, so nothing was begun: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()


def _leader(cluster: Cluster) -> str:
    holder: str = admin.call(cluster, "GET", _LEASE)["spec"].get("holderIdentity", "")
    return holder


def _stop(node: NodeSettings, role: str) -> None:
    running = process.load(node.pidfile(role))
    if running is not None:
        asyncio.run(running.stop(_GRACE))


def _begin(cluster: Cluster, node: NodeSettings, role: str, back: Callable[[], bool]) -> None:
    """Start a process and wait until it does its work. Raises ClusterError."""
    from tiphys.main.up import start_process

    start_process(role, node)
    deadline = time.monotonic() + _SECONDS
    while True:
        if process.load(node.pidfile(role)) is None:
            raise ClusterError(
                f"the {role} of {node.name} ended with the new version; see {node.log(role)}. Nothing after it was "
                f"touched: install the version before, then `tiphys up {cluster.name}`"
            )
        try:
            if back():
                return
        except (ClusterError, ApiError):
            pass
        if time.monotonic() > deadline:
            raise ClusterError(f"the {role} of {node.name} is not back after {_SECONDS:.0f} s; see {node.log(role)}")
        time.sleep(_PAUSE)


def _serves(cluster: Cluster, node: NodeSettings) -> bool:
    """Whether this server, and not another one, answers and has its store."""
    return bool(admin.call(cluster, "GET", "/readyz", url=node.url) == "ok")


def _heartbeat(cluster: Cluster, node: NodeSettings) -> Any:
    """What the agent said last; it changes once one runs. Raises ClusterError if the node is not Ready."""

    def get(path: str) -> Any:
        if node.control_plane:
            return admin.call(cluster, "GET", path)
        return admin.call(cluster, "GET", path, url=node.servers[0], certificate=node.client)

    conditions = get(f"/api/v1/nodes/{node.name}")["status"]["conditions"]
    if not any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions):
        raise ClusterError(f"node {node.name} is not Ready")
    return get(f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node.name}")["spec"]["renewTime"]
