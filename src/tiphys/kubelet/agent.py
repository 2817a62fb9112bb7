"""The kubelet of one node, wired together: registration, lease, pods, volumes, and what happens in the runtime.

`Kubelet.run()` is all that `main` needs. Killing it touches no container; the next one finds them and carries on, also
while no API server answers: with what this one knew last, which is kept in a checkpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.base.tasks import Supervisor
from tiphys.client.checkpoint import Checkpoint
from tiphys.client.client import Client
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informer
from tiphys.client.timers import Timers
from tiphys.kinds.core.node import NODES, Node
from tiphys.kinds.core.persistentvolume import PERSISTENT_VOLUMES, PersistentVolume
from tiphys.kinds.core.pod import PODS, Pod
from tiphys.kinds.core.service import SERVICES, Service
from tiphys.kinds.node.runtimeclass import RUNTIME_CLASSES
from tiphys.kinds.storage.local import NODE
from tiphys.kubelet import environment
from tiphys.kubelet.cdi import knows_cdi
from tiphys.kubelet.config import KubeletConfig
from tiphys.kubelet.handlers import Handlers
from tiphys.kubelet.images import Images
from tiphys.kubelet.node_reporter import NodeReporter
from tiphys.kubelet.pod_devices import NoDevices, PodDevices
from tiphys.kubelet.pod_host import LinuxHost, NoHost
from tiphys.kubelet.pods import Pods
from tiphys.kubelet.runtime import Runtime, RuntimeFault, RuntimeInfo
from tiphys.kubelet.services import Isolate, Services
from tiphys.kubelet.shutdown import within
from tiphys.kubelet.status_writer import StatusWriter
from tiphys.kubelet.usage import Gauge
from tiphys.kubelet.usage_history import SAVED_SECONDS, UsageHistory
from tiphys.kubelet.volumes.claims import Claims
from tiphys.kubelet.volumes.local import LocalVolumes
from tiphys.kubelet.volumes.objects import Objects
from tiphys.kubelet.volumes.tokens import ServiceAccountTokens

if TYPE_CHECKING:
    from tiphys.kubelet.plugins import Driver, Plugins

_log = Log("kubelet")
_TELL_SECONDS = 2.0
_MASTER_NAMESPACE, _MASTER = "default", "kubernetes"


@dataclass(frozen=True, slots=True)
class Hooks:
    """`pod_cidrs`: called with the node's ranges when they are known, returns whether the pod network is ready.

    `node`: called with every new form of the Node. `images`: what gets images, in place of the runtime's. `isolate`:
    returns once the network policies hold for a pod and its addresses; no container of it starts before.
    """

    pod_cidrs: Callable[[list[str]], bool] | None = None
    node: Callable[[Node], None] | None = None
    images: Images | None = None
    isolate: Isolate | None = None


class Kubelet:
    """`services` informer: shared with the process' other components, who run it; without one it makes its own."""

    def __init__(
        self, config: KubeletConfig, client: Client, runtime: Runtime, clock: Clock, *,
        services: Informer[Service] | None = None, hooks: Hooks = Hooks(),
    ) -> None:  # fmt: skip
        for directory in (config.root, config.run, config.logs):
            if not config.simulated:
                Path(directory).mkdir(parents=True, exist_ok=True)
        self.config, self.runtime = config, runtime
        self._client, self._clock, self._hooks = client, clock, hooks
        self.pods = Pods()
        self.reporter = NodeReporter(config, client, runtime, clock)
        self.recorder = EventRecorder(client, "kubelet", clock, host=config.node_name)
        self.handlers = Handlers(runtime, clock)
        # A simulated node has no files; its pods are gone with its process anyway.
        self._checkpoint = None if config.simulated else Checkpoint(config.run / "checkpoint", clock)
        self._plugins = None if config.simulated else self._follow_plugins()
        self._usage_file = Checkpoint(config.root / "usage", clock, gather=SAVED_SECONDS)
        self.gauge = Gauge(self.pods, runtime, config.cgroup_root, clock)
        self.usage_history = UsageHistory(self.gauge.containers, self._pod, self._usage_file, clock)
        self._own_services = services is None
        self._services: Informer[Service] = (
            services if services is not None else Informer(client, SERVICES, clock=clock, checkpoint=self._checkpoint)
        )
        self._services.add_index("namespace", lambda service: [service.metadata.namespace])

    def _follow_plugins(self) -> Plugins:
        from tiphys.kubelet.plugins import Plugins  # simulated nodes do without gRPC

        return Plugins(self.config.root / "plugins_registry", self._clock, self.pods.driver_arrived)

    def driver(self, name: str) -> Driver | None:
        """A driver of dynamic resources that is registered here."""
        return self._plugins.driver(name) if self._plugins is not None else None

    async def run(self) -> None:
        """Be the node's kubelet until cancelled."""
        async with Supervisor(self._clock) as supervisor:
            try:
                await self._run(supervisor)
            finally:
                await self.handlers.close()

    async def shut_down(self) -> None:
        """The machine goes down: tell so, and end the pods by priority. The kubelet's own end they would outlive.

        What the API server does not take in time is left untold: the machine does not wait for it.
        """
        told = await within(self._clock, _TELL_SECONDS, self.reporter.close())
        await self.pods.close()
        if not (await within(self._clock, _TELL_SECONDS, self.pods.told()) and told):
            _log.warning("going down untold: no API server answered in time")

    async def _run(self, supervisor: Supervisor) -> None:
        timers = Timers(self._clock)
        supervisor.start("timers", timers.run)
        supervisor.start("events", self.recorder.run)
        if self._checkpoint is not None:
            supervisor.start("checkpoint", self._checkpoint.run)
        self.reporter.network = self._hooks.pod_cidrs is None
        known = asyncio.Event()
        nodes: Informer[Node] = Informer(
            self._client, NODES, clock=self._clock, checkpoint=self._checkpoint,
            fieldSelector=f"metadata.name={self.config.node_name}",
        )  # fmt: skip
        nodes.add_handler(self._node_changed)
        nodes.add_handler(lambda old, new: known.set())
        supervisor.once("registration", self._register(supervisor, known))
        supervisor.start("node informer", nodes.run)
        await known.wait()
        if self._own_services:
            supervisor.start("services informer", self._services.run)
        await self._services.synced.wait()
        await self._run_pods(supervisor, timers)

    async def _register(self, supervisor: Supervisor, known: asyncio.Event) -> None:
        """Report once the API has the node; work on pods need not wait for that where the node is known."""
        self._node_changed(None, await self.reporter.register())
        known.set()
        supervisor.start("node status", self.reporter.report)
        supervisor.start("node lease", self.reporter.renew)

    async def _run_pods(self, supervisor: Supervisor, timers: Timers) -> None:
        statuses = StatusWriter(self._client, timers)
        statuses.start(supervisor)
        self.pods.start(await self._shared(supervisor, timers, statuses))
        self._keep_volumes(supervisor, timers)
        if self._plugins is not None:
            self._keep_drivers(supervisor, self._plugins)
        if not self.config.simulated:
            supervisor.start("usage checkpoint", self._usage_file.run)
            supervisor.start("usage history", self.usage_history.run)
        pods: Informer[Pod] = Informer(
            self._client, PODS, clock=self._clock, checkpoint=self._checkpoint,
            fieldSelector=f"spec.nodeName={self.config.node_name}",
        )  # fmt: skip
        self.pods.complete = lambda: pods.current
        pods.add_handler(self.pods.changed)
        supervisor.start("pods informer", pods.run)
        await pods.synced.wait()
        self.reporter.on_pressure = self.pods.relieve
        supervisor.once("orphans", self._compare(pods))
        supervisor.start("runtime events", self.pods.follow_runtime)
        await self.pods.relist()

    def _keep_volumes(self, supervisor: Supervisor, timers: Timers) -> None:
        """Remove volumes that were made for claims here, once they are wanted no more."""
        informer: Informer[PersistentVolume] = Informer(
            self._client, PERSISTENT_VOLUMES, clock=self._clock, labelSelector=f"{NODE}={self.config.node_name}"
        )
        directory = None if self.config.simulated else self.config.volumes
        supervisor.start("local volumes", LocalVolumes(self._client, informer, timers, directory).run)
        supervisor.start("local volumes informer", informer.run)

    async def _compare(self, pods: Informer[Pod]) -> None:
        # Known from a checkpoint is not enough to call any other pod unwanted.
        await pods.wait_for(1)
        try:
            await self.pods.compare()
        except RuntimeFault as fault:
            _log.warning("cannot look for orphaned pods yet", error=str(fault))

    async def _shared(self, supervisor: Supervisor, timers: Timers, statuses: StatusWriter) -> Services:
        config, clock = self.config, self._clock
        try:
            info = await self.runtime.info()
        except RuntimeFault:
            # The answer names container ids only, and tells how containers get devices; what runs tells later.
            info = RuntimeInfo("containerd", "")
        tokens = ServiceAccountTokens(self._client, clock, self._checkpoint)
        await tokens.restore()
        objects = Objects(self._client, supervisor, clock, self.pods.objects_changed, checkpoint=self._checkpoint)
        images = self._hooks.images or Images(self.runtime, clock)
        return Services(
            config, self.runtime, info.name, NoHost() if config.simulated else LinuxHost(config, clock),
            objects, Claims(objects, lambda: self.reporter.node), tokens, images, self.handlers,
            statuses, self.recorder, clock, timers, supervisor, self._variables, self.reporter.allocatable,
            self.reporter.machine.memory, self._node_labels, self._handler_of, await self._devices(),
            knows_cdi(info.name, info.version), self._hooks.isolate,
        )  # fmt: skip

    def _keep_drivers(self, supervisor: Supervisor, plugins: Plugins) -> None:
        from tiphys.kubelet.slice_cleanup import SliceCleanup  # as above

        cleanup = SliceCleanup(
            self._client, self.config.node_name, lambda name: plugins.driver(name) is not None, self._clock
        )  # fmt: skip
        plugins.on_gone = cleanup.gone
        supervisor.start("plugins", plugins.run)
        supervisor.start("slices of drivers that are gone", cleanup.run)

    async def _devices(self) -> PodDevices:
        if self._plugins is None:
            return NoDevices()
        from tiphys.kubelet.claimed_devices import ClaimedDevices  # as above

        devices = ClaimedDevices(self._client, self._plugins.driver, self.config.root / "dra_manager_state.json")
        await devices.restore()
        return devices

    def _pod(self, namespace: str, name: str) -> Pod | None:
        worker = self.pods.get(namespace, name)
        return worker.pod if worker is not None else None

    def _node_labels(self) -> Mapping[str, str]:
        return self.reporter.node.metadata.labels if self.reporter.node is not None else {}

    async def _handler_of(self, name: str) -> str:
        """The handler of a RuntimeClass. Raises NotFound."""
        found = await self._client.of(RUNTIME_CLASSES).get_json(name)
        handler: str = found["handler"]
        return handler

    def _variables(self, namespace: str) -> Mapping[str, str]:
        """Service links: the namespace's services, and everywhere the API server's own."""
        found = {service.metadata.name: service for service in self._services.by("namespace", namespace)}
        master = self._services.get(f"{_MASTER_NAMESPACE}/{_MASTER}")
        if master is not None:
            found.setdefault(_MASTER, master)
        return environment.service_variables(found.values())

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if new is None:
            # Somebody deleted it: reporting will find that out and register again.
            self.reporter.changed()
            return
        self.reporter.seen(new)
        if self._hooks.node is not None:
            self._hooks.node(new)
        cidrs = new.spec.pod_cidrs or ([new.spec.pod_cidr] if new.spec.pod_cidr else [])
        if self._hooks.pod_cidrs is not None and cidrs:
            ready = self._hooks.pod_cidrs(cidrs)
            if ready != self.reporter.network:
                self.reporter.network = ready
                self.reporter.changed()
