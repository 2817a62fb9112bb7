"""`tiphys down`: stop a cluster and take back every side effect; with `--purge` its state too."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

from tiphys.main import keep, kubeconfig, service
from tiphys.main.cluster import DEFAULT_NAME, Cluster, ClusterError, clusters, machine_locked
from tiphys.main.link import unlink_kubectl
from tiphys.main.progress import Progress

# Members of etcd that end together wait in vain for one who takes over; what they acknowledged is on their disks.
_GRACE, _ETCD_GRACE, _KEEPER_GRACE = 10.0, 0.2, 40.0


def down(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("tiphys down", description="Stop a cluster; its state stays unless it is purged.")
    parser.add_argument("name", nargs="?", default=DEFAULT_NAME, help="its name (default: %(default)s)")
    parser.add_argument("--purge", action="store_true", help="remove its state, images and certificates too")
    options = parser.parse_args(arguments)
    progress = Progress()
    try:
        cluster = Cluster(options.name)
        if os.geteuid() != 0 and not (cluster.exists and cluster.settings().simulated):
            raise ClusterError("`tiphys down` needs root; run it with sudo")
        # First whoever would start again what ends.
        asyncio.run(end(cluster.pidfile(keep.ROLE), grace=_KEEPER_GRACE))
        with cluster.locked():
            asyncio.run(stop(cluster, purge=options.purge))
        remove(cluster, purge=options.purge)
    except ClusterError as error:
        progress.fail(str(error))
        return 1
    progress.done(f"cluster {options.name} is {'gone' if options.purge else 'down'}")
    return 0


async def stop(cluster: Cluster, *, purge: bool) -> None:
    """End the processes, the containers and all that they made on this machine. Raises ClusterError."""
    if not cluster.exists:
        await end(cluster.pidfile("agent"), cluster.pidfile("server"), cluster.pidfile("etcd"))
        return
    from tiphys.main.node import undo
    from tiphys.main.node_settings import nodes_of

    nodes = nodes_of(cluster, cluster.settings())
    first, *others = nodes
    for role, grace in (("agent", _GRACE), ("server", _GRACE), ("etcd", _ETCD_GRACE)):
        await end(*(node.pidfile(role) for node in nodes), grace=grace)
    if not first.agent:
        return
    # The first node last: its record has what joins them, and its cgroup has theirs below it.
    failures = [*chain(*await asyncio.gather(*(undo(node, purge=purge) for node in others)))]
    failures += await undo(first, purge=purge)
    if failures:
        raise ClusterError(f"could not take back: {'; '.join(failures)}; run `tiphys down {cluster.name}` again")


async def end(*pidfiles: Path, grace: float = _GRACE) -> None:
    """Stop the processes that pidfiles name, at the same time."""
    from tiphys.node import process

    found = [identity for identity in map(process.load, pidfiles) if identity is not None]
    await asyncio.gather(*(identity.stop(grace) for identity in found))
    for pidfile in pidfiles:
        pidfile.unlink(missing_ok=True)


def remove(cluster: Cluster, *, purge: bool) -> None:
    """Remove the cluster's directories once nothing runs; with `purge` all that it was."""
    shutil.rmtree(cluster.run, ignore_errors=True)
    with suppress(OSError):
        cluster.run.parent.rmdir()
    if not purge:
        return
    service.remove(cluster)
    kubeconfig.remove_from_home(cluster)
    cluster.kubeconfig.unlink(missing_ok=True)
    shutil.rmtree(cluster.state, ignore_errors=True)
    with machine_locked():
        if not clusters():
            unlink_kubectl()
        for directory in (cluster.state.parent, cluster.etc):
            with suppress(OSError):
                directory.rmdir()
