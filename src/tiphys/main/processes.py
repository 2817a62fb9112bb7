"""`tiphys server` and `tiphys agent`: the two long-running processes, in the foreground."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiphys.main.cluster import DEFAULT_NAME, Cluster, ClusterError

if TYPE_CHECKING:
    from tiphys.main.joining import Invitation
    from tiphys.main.node_settings import NodeSettings


def server(arguments: Sequence[str]) -> int:
    parser = _parser("server")
    _add_join(parser, "--join", "be one more control plane of the cluster whose API server answers at URL")
    options = parser.parse_args(arguments)

    def run() -> None:
        cluster = Cluster(options.cluster)
        if options.join:
            from tiphys.main.joining import control_plane

            control_plane(cluster, _invitation(parser, options, options.join))
        run_server(cluster, options.node, options.log_level)

    return _guarded("server", run)


def agent(arguments: Sequence[str]) -> int:
    parser = _parser("agent")
    _add_join(parser, "--server", "be a node of the cluster whose API server answers at URL")
    options = parser.parse_args(arguments)

    def run() -> None:
        cluster = Cluster(options.cluster)
        if options.server:
            from tiphys.main.joining import worker

            worker(cluster, _invitation(parser, options, options.server))
        run_agent(cluster, options.node, options.log_level)

    return _guarded("agent", run)


def _parser(role: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(f"tiphys {role}", description=f"Run the {role} of a cluster until it is stopped.")
    parser.add_argument("--cluster", default=DEFAULT_NAME, help="its name on this machine (default: %(default)s)")
    parser.add_argument("--node", type=int, default=1, help="its number on this machine (default: %(default)s)")
    parser.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    return parser


def _add_join(parser: argparse.ArgumentParser, flag: str, text: str) -> None:
    group = parser.add_argument_group("joining", "`tiphys token create` on a control plane prints the whole command")
    group.add_argument(flag, metavar="URL", help=text)
    group.add_argument("--token", help="the token it was invited by; needed the first time only")
    group.add_argument("--name", help="what the node is called (default: the host's name)")
    group.add_argument("--address", help="where others reach this machine (default: that of its default route)")


def _invitation(parser: argparse.ArgumentParser, options: argparse.Namespace, url: str) -> Invitation:
    from tiphys.main.joining import Invitation

    if os.geteuid() != 0:
        raise ClusterError(f"`{parser.prog}` needs root; run it with sudo")
    return Invitation(url, options.token or "", options.name or "", options.address or "")


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

    from tiphys.base import collector

    collector.settle()
    uvloop.run(body)
