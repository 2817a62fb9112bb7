"""A cluster for tests, within a fraction of a second and without root: `with tiphys.testing.cluster() as made: ...`.

It is a real API server behind TLS, with its controllers and scheduler, over a store in memory, and simulated nodes that
say that they run pods. Anything that speaks to Kubernetes can be tested on it: kubectl, client libraries, operators.
A pod does what its annotations say (`tiphys.io/exit-after: "0.5"`) and what `Behaviours` says of all; else it runs.

    import pytest, tiphys.testing

    @pytest.fixture
    def cluster():
        with tiphys.testing.cluster(nodes=3) as made:
            yield made

    def test_my_operator(cluster, monkeypatch):
        monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
        cluster.kubectl("apply", "-f", "deploy.yaml")
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import yaml

from tiphys.api.http import User
from tiphys.base.clock import SystemClock
from tiphys.base.tasks import Supervisor
from tiphys.client.client import Client
from tiphys.client.inprocess import InProcess
from tiphys.kinds.core.node import NODES, Node
from tiphys.kinds.core.serviceaccount import SERVICE_ACCOUNTS
from tiphys.kinds.registry import builtin
from tiphys.kubelet.behaviour import Behaviours
from tiphys.main import certificate_upkeep
from tiphys.main.controllers import Facts
from tiphys.main.kubeconfig import document
from tiphys.main.leading import Leading, node_client
from tiphys.main.leaf import Leaf
from tiphys.main.pki import Pki, load_key
from tiphys.main.simulation import SimulatedNodes, Simulation
from tiphys.server import metrics_api
from tiphys.server.assemble import Settings, assemble
from tiphys.server.bootstrap import bootstrap, publish_authentication
from tiphys.server.connect import Connect
from tiphys.server.web import Front
from tiphys.store.memory import MemoryStore

_ISSUER = "https://kubernetes.default.svc.cluster.local"
_SUPERUSER = User("system:apiserver", groups=("system:masters", "system:authenticated"))
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """`url` is the API server's; `kubeconfig` a file with an administrator's certificate, gone when the cluster is."""

    url: str
    kubeconfig: Path
    environment: dict[str, str] = field(repr=False)

    def kubectl(self, *words: str, stdin: str = "") -> str:
        """What a kubectl command prints. Raises CalledProcessError, whose `stderr` says what was wrong."""
        command = [sys.executable, "-m", "tiphys.main.entry", "kubectl", *words]
        done = subprocess.run(  # noqa: S603 - our own command
            command, input=stdin, capture_output=True, text=True, check=True, env=self.environment
        )
        return done.stdout


@contextmanager
def cluster(nodes: int | SimulatedNodes = 1, behaviours: Behaviours | None = None) -> Iterator[Cluster]:
    """A cluster for the length of the block, ready when it begins: its nodes are, and so is the default account.

    `behaviours`: what goes on on its nodes, in place of what `nodes` says.
    It runs on a thread of its own, so that the test may block, or run an event loop, as it likes.
    """
    wanted = nodes if isinstance(nodes, SimulatedNodes) else SimulatedNodes(nodes)
    if behaviours is not None:
        wanted = replace(wanted, behaviours=behaviours)
    with tempfile.TemporaryDirectory(prefix="tiphys-test-") as directory:
        ready: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        thread = threading.Thread(target=_thread, args=(Path(directory), wanted, ready), name="tiphys test cluster")
        thread.start()
        loop: asyncio.AbstractEventLoop | None = None
        try:
            url, loop, stop = ready.result(_SECONDS)
            kubeconfig = Path(directory) / "kubeconfig"
            yield Cluster(url, kubeconfig, {**os.environ, "KUBECONFIG": str(kubeconfig)})
        finally:
            if loop is not None:
                loop.call_soon_threadsafe(stop.set)
            thread.join()


def _thread(
    directory: Path, wanted: SimulatedNodes, ready: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]]
) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_serve(directory, wanted, ready))
        except BaseException as error:  # noqa: BLE001 - whoever waits is to know why it did not begin
            with contextlib.suppress(asyncio.InvalidStateError):
                ready.set_exception(error)


async def _serve(
    directory: Path, wanted: SimulatedNodes, ready: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]]
) -> None:
    clock, stop = SystemClock(), asyncio.Event()
    network, pods = ipaddress.IPv4Network("10.96.0.0/16"), ipaddress.IPv4Network("198.18.0.0/15")
    pki = Pki(directory / "pki")
    pki.ensure("test", {
        "server": Leaf("kube-apiserver", names=["127.0.0.1", "localhost"]),
        "admin": Leaf("kubernetes-admin", ["system:masters"]),
        "server-client": Leaf("kube-apiserver-kubelet-client", ["system:masters"]),
    })  # fmt: skip
    async with AsyncExitStack() as stack:
        settings = Settings(network, _ISSUER, load_key(pki.key("sa")))
        assembled = await assemble(MemoryStore(), builtin(), settings, clock)
        stack.push_async_callback(assembled.webhooks.close)
        stack.push_async_callback(assembled.aggregation.close)
        supervisor = await stack.enter_async_context(Supervisor(clock))
        supervisor.start("cache", assembled.cache.run)
        transport = InProcess(assembled.server.handle, _SUPERUSER, "tiphys-testing")
        await bootstrap(transport, network)
        await publish_authentication(transport, pki.ca.read_text(), pki.front_proxy_ca.read_text(), "")
        supervisor.start("custom resources", assembled.custom.run)
        supervisor.start("API services", assembled.api_services.run)
        facts = Facts(pods, pki.ca.read_text(), certificate_upkeep.authority(pki), network)
        supervisor.start("leading", Leading(assembled, facts, clock, {}).run)
        simulation = Simulation(wanted, lambda name: node_client(assembled, name), clock)
        supervisor.start("nodes", simulation.run)
        metrics_api.install(assembled.server, simulation.summary)
        front = Front(assembled.server, assembled.authenticator, Connect(assembled.server, pki.client_tls("admin")))
        await front.start("127.0.0.1", 0, pki.server_tls("server"))
        stack.push_async_callback(front.stop)
        url = f"https://127.0.0.1:{front.port}"
        (directory / "kubeconfig").write_text(yaml.safe_dump(document("test", url, pki)))
        await _until_ready(Client(transport, manager="tiphys-testing"), set(wanted.names))
        ready.set_result((url, asyncio.get_running_loop(), stop))
        await stop.wait()


async def _until_ready(client: Client, missing: set[str]) -> None:
    async with asyncio.timeout(_SECONDS):
        async with client.of(SERVICE_ACCOUNTS).watch("default", fieldSelector="metadata.name=default") as events:
            await anext(events)
        if not missing:
            return
        async with client.of(NODES).watch() as events:
            async for _, data in events:
                node = msgspec.json.decode(data, type=Node)
                if node.ready:
                    missing.discard(node.metadata.name)
                if not missing:
                    return
