"""`tiphys server`: API server, store, scheduler and controllers in one asyncio process."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack

from tiphys.api.http import User
from tiphys.base import looplag, process_metrics
from tiphys.base.clock import Clock, SystemClock
from tiphys.base.log import Log
from tiphys.base.tasks import Supervisor
from tiphys.client.client import Client
from tiphys.client.informer import Informers
from tiphys.client.inprocess import InProcess
from tiphys.client.timers import Timers
from tiphys.controllers.base import Context, Runner
from tiphys.kinds.registry import builtin
from tiphys.main.cluster import Cluster
from tiphys.main.cluster import Settings as ClusterSettings
from tiphys.main.controllers import Facts, build
from tiphys.main.pki import FRONT_PROXY, Pki, load_key
from tiphys.scheduler.scheduler import Scheduler
from tiphys.server import component_status, metrics_api
from tiphys.server.admission.plugins.order import Selected
from tiphys.server.admission.plugins.outside import installed, resources
from tiphys.server.aggregation.client import Identity
from tiphys.server.assemble import Assembled, Settings, assemble
from tiphys.server.bootstrap import bootstrap, publish_authentication, publish_endpoint
from tiphys.server.connect import Connect
from tiphys.server.upkeep import Upkeep
from tiphys.server.web import Front
from tiphys.store import Store

_log = Log("main")
_SUPERUSER = User("system:apiserver", groups=("system:masters", "system:authenticated"))
ISSUER = "https://kubernetes.default.svc.cluster.local"


def component(assembled: Assembled, name: str) -> Client:
    """A client inside the process that acts as `system:NAME`, one of our own components, with its rights only."""
    user = User(f"system:{name}", groups=("system:authenticated",))
    return Client(InProcess(assembled.server.handle, user, name), manager=name)


def _start_components(assembled: Assembled, facts: Facts, supervisor: Supervisor, clock: Clock) -> list[str]:
    """Start the scheduler and the controllers, over informers that they share; the names of the controllers."""
    informers = Informers(component(assembled, "kube-controller-manager"), clock)
    timers = Timers(clock)
    supervisor.start("controller timers", timers.run)

    def context(name: str) -> Context:
        return Context(name, component(assembled, f"controller:{name}"), informers, clock, timers)

    scheduler = Scheduler(component(assembled, "kube-scheduler"), informers, clock)
    controllers = build(context, facts)
    for informer in informers:
        supervisor.start(f"{informer.resource.plural} informer", informer.run)
    supervisor.start("scheduler", scheduler.run)
    for controller, its_context in controllers:
        supervisor.start(controller.name, Runner(controller, its_context).run)
    return [controller.name for controller, _ in controllers]


def _checks(supervisor: Supervisor, controllers: Sequence[str]) -> component_status.Checks:
    return {
        "scheduler": lambda: supervisor.problem("scheduler"),
        "controller-manager": lambda: next(filter(None, map(supervisor.problem, controllers)), ""),
        "etcd-0": lambda: supervisor.problem("cache"),
    }


async def _open_store(cluster: Cluster, settings: ClusterSettings) -> Store:
    if settings.store == "etcd":
        from tiphys.main import etcd

        return await etcd.open_store(cluster, settings)
    from tiphys.store.sqlite import SqliteStore

    return await SqliteStore.open(cluster.store)


async def serve(cluster: Cluster) -> None:
    """Run the server of `cluster` until SIGTERM or SIGINT."""
    settings = cluster.settings()
    clock = SystemClock()
    pki = Pki(cluster.pki)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        store = await _open_store(cluster, settings)
        stack.push_async_callback(store.close)
        admission = Selected(settings.enable_admission_plugins, settings.disable_admission_plugins, installed())
        chosen = Settings(
            settings.services, ISSUER, load_key(pki.key("sa")), admission=admission,
            front_proxy=Identity(pki.certificate(FRONT_PROXY), pki.key(FRONT_PROXY)),
        )  # fmt: skip
        registry = builtin()
        registry.update(add=resources())
        assembled = await assemble(store, registry, chosen, clock)
        stack.push_async_callback(assembled.webhooks.close)
        stack.push_async_callback(assembled.aggregation.close)
        supervisor = await stack.enter_async_context(Supervisor(clock))
        supervisor.start("cache", assembled.cache.run)
        process_metrics.install()
        supervisor.start("looplag", lambda: looplag.monitor(clock))
        transport = InProcess(assembled.server.handle, _SUPERUSER, "tiphys-server")
        await bootstrap(transport, settings.services)
        await assembled.addresses.repair()
        await publish_authentication(transport, pki.ca.read_text(), pki.front_proxy_ca.read_text(), FRONT_PROXY)
        supervisor.start("custom resources", assembled.custom.run)
        supervisor.start("API services", assembled.api_services.run)
        upkeep = Upkeep(assembled.cache, clock)
        supervisor.start("compaction", upkeep.compact)
        supervisor.start("event expiry", upkeep.expire_events)
        controllers = _start_components(assembled, Facts(settings.pods, pki.ca.read_text()), supervisor, clock)
        connect = Connect(assembled.server, pki.client_tls("server-client"))
        stack.push_async_callback(connect.close)
        metrics_api.install(assembled.server, connect.summary)
        component_status.install(assembled.server, _checks(supervisor, controllers))
        front = Front(assembled.server, assembled.authenticator, connect, assembled.remote_upgrades)
        await front.start("0.0.0.0", settings.api_port, pki.server_tls("server"))  # noqa: S104 - TLS and RBAC guard it
        stack.push_async_callback(front.stop)
        await publish_endpoint(transport, settings.address, settings.api_port)
        _log.info("serving", cluster=cluster.name, port=settings.api_port, revision=store.revision)
        await stop.wait()
        _log.info("stopping")
