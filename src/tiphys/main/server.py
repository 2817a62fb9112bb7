"""`tiphys server`: API server, store, scheduler and controllers in one asyncio process."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack

from tiphys.api.http import User
from tiphys.base import collector, looplag, process_metrics
from tiphys.base.clock import Clock, SystemClock
from tiphys.base.log import Log
from tiphys.base.tasks import Supervisor
from tiphys.client.client import Client
from tiphys.client.inprocess import InProcess
from tiphys.client.leader_election import LeaderElection
from tiphys.kinds.coordination.lease import LEASES
from tiphys.kinds.registry import builtin
from tiphys.main import certificate_upkeep, simulated
from tiphys.main.autoscaling import provider
from tiphys.main.autoscaling.autoscaler import Options
from tiphys.main.autoscaling.local import LocalNodes
from tiphys.main.autoscaling.provider import NodeProvider
from tiphys.main.backup.runner import Backups
from tiphys.main.cluster import Cluster
from tiphys.main.cluster import Settings as ClusterSettings
from tiphys.main.cluster_facts import publish_cluster
from tiphys.main.controllers import Facts
from tiphys.main.etcd import Etcd
from tiphys.main.leading import LEASE, Duty, Leading, component, hold_address, repair_allocations
from tiphys.main.node_settings import NodeSettings
from tiphys.main.peers import Peers, show_role
from tiphys.main.pki import FRONT_PROXY, Pki, load_key
from tiphys.scheduler.config import profiles
from tiphys.server import component_status, metrics_api
from tiphys.server.admission.plugins.order import Selected
from tiphys.server.admission.plugins.outside import installed, resources
from tiphys.server.aggregation.client import Identity
from tiphys.server.assemble import Assembled, Settings, assemble
from tiphys.server.bootstrap import bootstrap, publish_authentication, publish_endpoints
from tiphys.server.connect import Connect
from tiphys.server.custom_metrics import api as custom_metrics
from tiphys.server.custom_metrics.client import PodClient
from tiphys.server.web import Front
from tiphys.store import Store

_log = Log("main")
_SUPERUSER = User("system:apiserver", groups=("system:masters", "system:authenticated"))
ISSUER = "https://kubernetes.default.svc.cluster.local"


def _settings(settings: ClusterSettings, pki: Pki) -> Settings:
    admission = Selected(
        settings.enable_admission_plugins, settings.disable_admission_plugins, installed(),
        default_not_ready_toleration_seconds=settings.default_not_ready_toleration_seconds,
        default_unreachable_toleration_seconds=settings.default_unreachable_toleration_seconds,
    )  # fmt: skip
    return Settings(
        settings.services, ISSUER, load_key(pki.key("sa")), admission=admission, alone=settings.store != "etcd",
        front_proxy=Identity(pki.certificate(FRONT_PROXY), pki.key(FRONT_PROXY)),
    )  # fmt: skip


def _providers(cluster: Cluster, settings: ClusterSettings) -> list[NodeProvider]:
    """What makes nodes of this cluster; simulated ones are as many as were asked for."""
    return provider.installed() if settings.simulated else [LocalNodes(cluster), *provider.installed()]


def _public_url(settings: ClusterSettings, node: NodeSettings) -> str:
    """Where other machines find the API."""
    return f"https://{settings.virtual_address}:{settings.api_port}" if settings.virtual_address else node.url


async def _open_store(cluster: Cluster, etcd: Etcd | None) -> Store:
    if etcd is not None:
        await etcd.enter()
        return await etcd.open_store()
    from tiphys.store.sqlite import SqliteStore

    return await SqliteStore.open(cluster.store)


async def _duties(
    settings: ClusterSettings,
    node: NodeSettings,
    assembled: Assembled,
    transport: InProcess,
    peers: Peers,
    clock: Clock,
) -> dict[str, Duty]:
    """What the leading server does besides running the components; a server that is alone does it here and now."""

    async def publish(urls: Sequence[str]) -> None:
        await publish_endpoints(transport, urls)
        await publish_cluster(transport, settings, urls)

    if not node.etcd_port:
        await assembled.addresses.repair(clock)
        await publish([node.url])
        return {}
    duties: dict[str, Duty] = {
        "API servers": lambda: peers.publish(publish),
        "allocations": lambda: repair_allocations(assembled, clock),
    }
    if settings.virtual_address:
        duties["virtual address"] = lambda: hold_address(settings.virtual_address, clock)
    return duties


def _start_leading(
    assembled: Assembled, leading: Leading, peers: Peers, node: NodeSettings, supervisor: Supervisor, clock: Clock
) -> None:
    """Lead at once where no other server can be; else whenever elected."""
    if not node.etcd_port:
        supervisor.start("leading", leading.run)
        return
    leases = component(assembled, "kube-controller-manager").of(LEASES)
    election = LeaderElection(leases, LEASE, node.name, clock, ended=peers.ended)
    supervisor.start("election", lambda: election.run(leading.run))
    supervisor.start("identity lease", peers.announce)


async def serve(cluster: Cluster, node: NodeSettings, etcd: Etcd | None) -> None:
    """Run the server on one node of `cluster` until SIGTERM or SIGINT; `etcd` is its member, if it has one."""
    settings = cluster.settings()
    clock = SystemClock()
    pki = Pki(node.pki)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        store = await _open_store(cluster, etcd)
        stack.push_async_callback(store.close)
        registry = builtin()
        registry.update(add=resources())
        assembled = await assemble(store, registry, _settings(settings, pki), clock)
        stack.push_async_callback(assembled.webhooks.close)
        stack.push_async_callback(assembled.aggregation.close)
        supervisor = await stack.enter_async_context(Supervisor(clock))
        supervisor.start("cache", assembled.cache.run)
        if etcd is not None:
            supervisor.start("etcd", etcd.keep)
        process_metrics.install()
        supervisor.start("looplag", lambda: looplag.monitor(clock))
        supervisor.once("memory", collector.give_back(clock))
        transport = InProcess(assembled.server.handle, _SUPERUSER, "tiphys-server")
        await bootstrap(transport, settings.services)
        await publish_authentication(transport, pki.ca.read_text(), pki.front_proxy_ca.read_text(), FRONT_PROXY)
        supervisor.start("custom resources", assembled.custom.run)
        supervisor.start("API services", assembled.api_services.run)
        tls = pki.client_tls("server-client")
        peers = Peers(Client(transport, manager="kube-apiserver"), node.name, node.url, tls, clock)
        duties = await _duties(settings, node, assembled, transport, peers, clock)
        if etcd is not None:
            duties["etcd care"] = etcd.care
        backups = Backups(cluster, store, clock)
        duties["backups"] = backups.run
        ca = certificate_upkeep.authority(pki)
        for name, task in certificate_upkeep.server_tasks(
            cluster, settings, transport, assembled.aggregation, ca, clock
        ).items():
            supervisor.start(name, task)
        certificate_upkeep.install_joining(assembled.server, assembled.cache, pki, clock)
        facts = Facts(
            settings.pods, pki.ca.read_text(), ca, settings.services, _public_url(settings, node),
            settings.horizontal_pod_autoscaler_sync_period_seconds,
        )  # fmt: skip
        chosen = profiles(cluster.state / "scheduler.yaml")
        leading = Leading(
            assembled, facts, clock, duties, chosen, _providers(cluster, settings),
            lambda: Options(cluster.settings().scale_down_seconds),
        )  # fmt: skip

        def reload() -> None:
            backups.reload()
            leading.reload()

        loop.add_signal_handler(signal.SIGHUP, reload)
        connect = Connect(assembled.server, tls)
        stack.push_async_callback(connect.close)
        nodes = simulated.Nodes(cluster, assembled.server.handle) if settings.simulated else None
        metrics_api.install(assembled.server, connect.summary if nodes is None else nodes.summary)
        scraped = PodClient()
        stack.push_async_callback(scraped.close)
        custom_metrics.install(assembled.server, scraped.fetch)
        component_status.install(assembled.server, leading.checks(lambda: supervisor.problem("cache")))
        front = Front(assembled.server, assembled.authenticator, connect, assembled.remote_upgrades)
        await front.start("0.0.0.0", settings.api_port, pki.server_tls("server"))  # noqa: S104 - TLS and RBAC guard it
        stack.push_async_callback(front.stop)
        _start_leading(assembled, leading, peers, node, supervisor, clock)
        if nodes is not None:
            supervisor.start("simulated nodes", nodes.keep)
        else:
            supervisor.once("role", show_role(Client(transport, manager="tiphys"), node.name, clock))
        _log.info("serving", cluster=cluster.name, port=settings.api_port, revision=store.revision)
        await stop.wait()
        _log.info("stopping")
