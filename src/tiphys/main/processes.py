"""`tiphys server` and `tiphys agent`: the two long-running processes, in the foreground."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence

from tiphys.main.cluster import DEFAULT_NAME, Cluster, ClusterError


def server(arguments: Sequence[str]) -> int:
    return _run("server", arguments)


def agent(arguments: Sequence[str]) -> int:
    return _run("agent", arguments)


def _run(role: str, arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(f"tiphys {role}", description=f"Run the {role} of a cluster until it is stopped.")
    parser.add_argument("--cluster", default=DEFAULT_NAME, help="its name (default: %(default)s)")
    parser.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    options = parser.parse_args(arguments)
    try:
        run(role, Cluster(options.cluster), options.log_level)
    except ClusterError as error:
        print(f"tiphys {role}: {error}", file=sys.stderr)
        return 1
    return 0


def run(role: str, cluster: Cluster, level: str = "INFO") -> None:
    """Be the server or the agent of `cluster` until a signal ends it."""
    import uvloop

    from tiphys.base import log
    from tiphys.node.process import Identity, started

    log.setup(level)
    os.umask(0o077)
    cluster.run.mkdir(parents=True, exist_ok=True, mode=0o755)
    Identity(os.getpid(), started(os.getpid()) or 0).save(cluster.pidfile(role))
    if role == "server":
        from tiphys.main.server import serve as body
    else:
        from tiphys.main.agent import serve as body
    # What the imports made lives as long as the process; the collector need not look at it again.
    gc.collect()
    gc.freeze()
    uvloop.run(body(cluster))
