"""`tiphys server` and `tiphys agent`: the two long-running processes, in the foreground."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiphys.main.cluster import DEFAULT_NAME, Cluster, ClusterError

if TYPE_CHECKING:
    from tiphys.main.node_settings import NodeSettings


def server(arguments: Sequence[str]) -> int:
    options = _parser("server").parse_args(arguments)
    return _guarded("server", lambda: run_server(Cluster(options.cluster), options.node, options.log_level))


def agent(arguments: Sequence[str]) -> int:
    options = _parser("agent").parse_args(arguments)
    return _guarded("agent", lambda: run_agent(Cluster(options.cluster), options.node, options.log_level))


def _parser(role: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(f"tiphys {role}", description=f"Run the {role} of a cluster until it is stopped.")
    parser.add_argument("--cluster", default=DEFAULT_NAME, help="its name (default: %(default)s)")
    parser.add_argument("--node", type=int, default=1, help="its number on this machine (default: %(default)s)")
    parser.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    return parser


def _guarded(role: str, body: Callable[[], None]) -> int:
    try:
        body()
    except ClusterError as error:
        print(f"tiphys {role}: {error}", file=sys.stderr)
        return 1
    return 0


def run_server(cluster: Cluster, number: int, level: str = "INFO") -> None:
    """Be the server on a node of `cluster` on this machine until a signal ends it."""
    node = _move(cluster, number)
    if not node.control_plane:
        raise ClusterError(f"node {node.name} of {cluster.name!r} is no control plane")
    _begin(node.pidfile("server"), level)
    etcd = None
    if node.etcd_port:
        from tiphys.base.clock import SystemClock
        from tiphys.main.etcd import Etcd

        etcd = Etcd(node, SystemClock())
        # It comes up while we are still importing what we need.
        etcd.start()
    from tiphys.main.server import serve

    _loop(serve(cluster, node, etcd))


def run_agent(cluster: Cluster, number: int, level: str = "INFO") -> None:
    """Be the agent of a node of `cluster` on this machine until a signal ends it."""
    node = _move(cluster, number)
    _begin(node.pidfile("agent"), level)
    from tiphys.main.agent import serve

    _loop(serve(node))


def _move(cluster: Cluster, number: int) -> NodeSettings:
    """The node of that number, whose namespaces this process is in from now on."""
    from tiphys.main.node_settings import node_of

    settings = cluster.settings()
    if number not in settings.numbers:
        raise ClusterError(f"{cluster.name!r} has no node {number}, but {', '.join(map(str, settings.numbers))}")
    node = node_of(cluster, settings, number)
    if node.network_namespace:
        from tiphys.main import machine

        # Before anything starts a thread: only a process with a single one can move.
        machine.enter(node)
    return node


def _begin(pidfile: Path, level: str) -> None:
    from tiphys.base import log
    from tiphys.node.process import Identity, started

    log.setup(level)
    os.umask(0o077)
    pidfile.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    Identity(os.getpid(), started(os.getpid()) or 0).save(pidfile)


def _loop(body: Coroutine[Any, Any, None]) -> None:
    import uvloop

    # What the imports made lives as long as the process; the collector need not look at it again.
    gc.collect()
    gc.freeze()
    uvloop.run(body)
