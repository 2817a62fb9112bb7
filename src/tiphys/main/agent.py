"""`tiphys agent`: kubelet, service proxy, network policies, overlay and DNS of one node in one asyncio process."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

from tiphys.base import collector, looplag, process_metrics
from tiphys.base.clock import Clock, SystemClock
from tiphys.base.log import Log
from tiphys.base.tasks import Supervisor
from tiphys.client.checkpoint import Checkpoint
from tiphys.client.client import Client
from tiphys.client.http import Https
from tiphys.client.informer import Informer, Informers
from tiphys.dns.server import DnsServer, Resolver
from tiphys.dns.zone import Zone
from tiphys.kinds.core.service import SERVICES, Service
from tiphys.kinds.discovery.endpointslice import ENDPOINT_SLICES
from tiphys.kubelet.agent import Hooks, Kubelet
from tiphys.kubelet.config import KubeletConfig
from tiphys.kubelet.cri_runtime import CriRuntime
from tiphys.kubelet.network import ClusterDns, parse_resolv_conf
from tiphys.kubelet.runtime import Dns
from tiphys.kubelet.server.app import KubeletServer
from tiphys.main import known_servers
from tiphys.main.agent_certificates import agent_tasks
from tiphys.main.node import PodNetwork, containerd_of, kubelet_root, record_of, service_table
from tiphys.main.node_settings import NodeSettings
from tiphys.main.node_shutdown import REQUEST
from tiphys.main.pki import Pki
from tiphys.networkpolicy.enforcer import Enforcer
from tiphys.node.images import Images
from tiphys.overlay.overlay import Overlay
from tiphys.overlay.plan import Setting as Tunnel
from tiphys.proxy.activator import Activator
from tiphys.proxy.proxy import Proxy
from tiphys.proxy.rules import Setting
from tiphys.proxy.traffic import Traffic

_log = Log("main")
DOMAIN = "cluster.local"


async def serve(node: NodeSettings) -> None:
    """Run the agent of a node until SIGTERM or SIGINT; containers stay as they are. SIGPWR ends them first."""
    clock = SystemClock()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        tls = Pki(node.pki).client_tls(node.client)
        transport = Https(known_servers.load(node), tls, agent="tiphys-agent")
        client = Client(transport, manager="kubelet")
        stack.push_async_callback(client.close)
        supervisor = await stack.enter_async_context(Supervisor(clock))
        process_metrics.install()
        supervisor.start("looplag", lambda: looplag.monitor(clock))
        supervisor.once("memory", collector.give_back(clock))
        for name, task in agent_tasks(Pki(node.pki), node.client, node.serving, client, clock).items():
            supervisor.start(name, task)
        agent = _Agent(node, client, transport, clock)
        supervisor.start("agent", agent.run)
        loop.add_signal_handler(REQUEST, lambda: supervisor.once("shutdown", agent.shut_down(stop)))
        await stop.wait()
        _log.info("stopping")


class _Agent:
    def __init__(self, node: NodeSettings, client: Client, transport: Https, clock: Clock) -> None:
        self._node, self._client, self._transport, self._clock = node, client, transport, clock
        self._record = record_of(node)
        self._network = PodNetwork(node, self._record)
        self._containerd = containerd_of(node, clock)
        self._running: Kubelet | None = None

    async def shut_down(self, stop: asyncio.Event) -> None:
        """The machine goes down: the pods end first, then this process."""
        if self._running is not None:
            await self._running.shut_down()
        stop.set()

    async def run(self) -> None:
        async with Supervisor(self._clock) as supervisor:
            # The server may still be starting; the runtime need not wait for it.
            supervisor.start("pod network", self._network.run)
            checkpoint = Checkpoint(self._node.run / "checkpoint", self._clock)
            supervisor.start("checkpoint", checkpoint.run)
            informers = Informers(self._client, self._clock, checkpoint)
            services, slices = informers.of(SERVICES), informers.of(ENDPOINT_SLICES)
            servers = known_servers.KnownServers(self._node, self._transport, slices)
            zone = Zone(DOMAIN, services, slices)
            policies = self._enforcer(informers, checkpoint)
            activator = Activator(self._node.address, self._clock, policies.admits)
            proxy = self._proxy(informers, activator)
            traffic = Traffic(
                self._client, self._node.name, service_table(self._node), self._clock, activator, proxy.sleepers
            )
            proxy.sleepers_changed = traffic.wake
            overlay = self._overlay(informers)
            for informer in informers:
                supervisor.start(f"{informer.resource.plural} informer", informer.run)
            supervisor.start("known servers", servers.run)
            supervisor.start("service proxy", proxy.run)
            supervisor.start("service traffic", traffic.run)
            supervisor.start("network policies", policies.run)
            supervisor.start("overlay", overlay.run)
            supervisor.start("dns", lambda: self._dns(zone))
            await self._containerd.ensure()
            supervisor.start("containerd", self._containerd.keep)
            await self._pause_image()
            kubelet = self._running = self._kubelet(services, policies)
            server = KubeletServer(kubelet, self._client, self._clock)
            tls = Pki(self._node.pki).server_tls(self._node.serving)
            await server.start("0.0.0.0", self._node.port, tls)  # noqa: S104 - it asks everybody who they are
            try:
                await kubelet.run()
            finally:
                await server.stop()
                await activator.close()

    def _proxy(self, informers: Informers, activator: Activator) -> Proxy:
        table = service_table(self._node)
        self._record.add("nft_table", f"ip {table}")
        setting = Setting(table, str(self._node.pods), self._node.bridge)
        return Proxy(informers, self._node.name, setting, self._clock, activator)

    def _enforcer(self, informers: Informers, checkpoint: Checkpoint) -> Enforcer:
        table = f"tiphys-{self._node.cluster}-policy"
        self._record.add("nft_table", f"ip {table}")
        return Enforcer(informers, self._node.name, table, self._clock, checkpoint)

    def _overlay(self, informers: Informers) -> Overlay:
        node = self._node
        table = f"tiphys-{node.cluster}-overlay"
        setting = Tunnel(node.name, node.address, node.tunnel, node.vni, node.mtu, node.tunnel_port, table)
        return Overlay(informers, setting, self._record, self._clock)

    async def _dns(self, zone: Zone) -> None:
        await self._network.ready.wait()
        resolver = Resolver(zone, _host_dns().servers, self._clock)
        await DnsServer(resolver, self._node.dns).run()

    async def _pause_image(self) -> None:
        images = Images(self._containerd.endpoint, self._clock)
        try:
            await images.ensure_pause()
        finally:
            images.close()

    def _kubelet(self, services: Informer[Service], policies: Enforcer) -> Kubelet:
        node = self._node
        config = KubeletConfig(
            node_name=node.name,
            root=kubelet_root(node),
            run=node.run / "kubelet",
            logs=node.state / "log" / "pods",
            addresses=[node.address],
            cgroup_root=node.cgroup_root,
            dns=ClusterDns(DOMAIN, (node.dns,), _host_dns()),
            port=node.port,
        )
        runtime = CriRuntime(self._containerd.endpoint, self._clock)
        hooks = Hooks(pod_cidrs=self._network.configure, isolate=policies.isolate)
        return Kubelet(config, self._client, runtime, self._clock, services=services, hooks=hooks)


def _host_dns() -> Dns:
    """The node's own resolv.conf; nothing where it has none."""
    try:
        return parse_resolv_conf(Path("/etc/resolv.conf").read_text())
    except FileNotFoundError:
        return Dns()
