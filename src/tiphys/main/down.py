"""`tiphys down`: stop a cluster and take back every side effect; with `--purge` its state too."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress

from tiphys.main import kubeconfig
from tiphys.main.cluster import DEFAULT_NAME, Cluster, ClusterError, clusters
from tiphys.main.link import unlink_kubectl
from tiphys.main.progress import Progress

_GRACE = 10.0


def down(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("tiphys down", description="Stop a cluster; its state stays unless it is purged.")
    parser.add_argument("name", nargs="?", default=DEFAULT_NAME, help="its name (default: %(default)s)")
    parser.add_argument("--purge", action="store_true", help="remove its state, images and certificates too")
    options = parser.parse_args(arguments)
    progress = Progress()
    try:
        if os.geteuid() != 0:
            raise ClusterError("`tiphys down` needs root; run it with sudo")
        cluster = Cluster(options.name)
        with cluster.locked():
            asyncio.run(stop(cluster, purge=options.purge))
        remove(cluster, purge=options.purge)
    except ClusterError as error:
        progress.fail(str(error))
        return 1
    progress.done(f"cluster {options.name} is {'gone' if options.purge else 'down'}")
    return 0


async def stop(cluster: Cluster, *, purge: bool) -> None:
    """End the processes, the containers and all that they made on this machine."""
    from tiphys.node import process

    for role in ("agent", "server"):
        identity = process.load(cluster.pidfile(role))
        if identity is not None:
            await identity.stop(_GRACE)
        cluster.pidfile(role).unlink(missing_ok=True)
    if cluster.exists:
        from tiphys.main.node import undo

        await undo(cluster, purge=purge)


def remove(cluster: Cluster, *, purge: bool) -> None:
    """Remove the cluster's directories once nothing runs; with `purge` all that it was."""
    shutil.rmtree(cluster.run, ignore_errors=True)
    with suppress(OSError):
        cluster.run.parent.rmdir()
    if not purge:
        return
    kubeconfig.remove_from_home(cluster)
    cluster.kubeconfig.unlink(missing_ok=True)
    shutil.rmtree(cluster.state, ignore_errors=True)
    if not clusters():
        unlink_kubectl()
    for directory in (cluster.state.parent, cluster.etc):
        with suppress(OSError):
            directory.rmdir()
