"""Keeps the Node object and its Lease: registers, reports what changes, renews while this kubelet lives.

https://kubernetes.io/docs/concepts/architecture/nodes/#heartbeats
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tiphys.api.errors import AlreadyExists, ApiError, NotFound
from tiphys.api.meta import ObjectMeta
from tiphys.api.resource import Json
from tiphys.api.time import rfc3339_micro
from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.client.client import Client, ResourceClient
from tiphys.client.transport import Unreachable
from tiphys.kinds.coordination.lease import LEASES
from tiphys.kinds.core.node import NODES, Node
from tiphys.kubelet import node_facts, node_status
from tiphys.kubelet.config import KubeletConfig
from tiphys.kubelet.node_status import NodeInputs
from tiphys.kubelet.runtime import Image, Runtime, RuntimeFault, RuntimeInfo

_log = Log("kubelet.node")
# Short, since a server that is back must hear of this node before it gives it up.
_RETRY = Backoff(initial=0.1, maximum=2.0)
# Who keeps writing over our conditions is contradicted at once only this often, else at the next look.
_CONTRADICT_SECONDS = 1.0
# So many renewals fail before the connections that there are count as dead.
_DISTRUST = 2
# A status on its way when contact was lost must not keep the next one waiting.
_STATUS_WITHIN = 5.0
_LEASE_NAMESPACE = "kube-node-lease"


class NodeReporter:
    """`register` first; then `report` and `renew` run until cancelled. `changed()` makes it report at once."""

    def __init__(self, config: KubeletConfig, client: Client, runtime: Runtime, clock: Clock) -> None:
        self._config, self._client, self._runtime, self._clock = config, client, runtime, clock
        self._nodes: ResourceClient[Node] = client.of(NODES)
        self._leases = client.of(LEASES)
        self._machine = node_facts.machine(config.root if config.root.exists() else Path("/"))
        self._images: list[Image] = []
        self._wake = asyncio.Event()
        self._told: Json | None = None
        self._told_at = 0.0
        self.network = True
        self._closing = False
        self._announced = asyncio.Event()
        # Called with what runs short, as often as it is looked at.
        self.on_pressure: Callable[[node_facts.Pressure], Awaitable[None]] | None = None
        # The newest form that the API has.
        self.node: Node | None = None

    @property
    def machine(self) -> node_facts.Machine:
        return self._machine

    @property
    def allocatable(self) -> dict[str, str]:
        return node_status.allocatable(self._config, self._machine)

    def changed(self) -> None:
        """Something that the status shows may be different now."""
        self._wake.set()

    async def close(self) -> None:
        """The machine goes down: from now on the node is not ready. Returns when the API knows."""
        self._closing = True
        self._wake.set()
        await self._announced.wait()

    def seen(self, node: Node) -> None:
        """The API shows the node so. Where that is not what we told (we were given up), it is told anew at once."""
        self.node = node
        quiet = self._clock.monotonic() - self._told_at >= _CONTRADICT_SECONDS
        if self._told is not None and quiet and not node_status.shows(node, self._told):
            self._wake.set()

    async def register(self) -> Node:
        """Make the Node, or see to it that ours has our labels; retried until the API server takes it."""
        failures = 0
        while True:
            try:
                self.node = await self._ensure()
                return self.node
            except (ApiError, Unreachable) as error:
                delay = _RETRY.delay(failures)
                failures += 1
                _log.warning("cannot register the node yet", error=str(error), retry=round(delay, 2))
                await self._clock.sleep(delay)

    async def _ensure(self) -> Node:
        wanted = node_status.registration(self._config, self._machine)
        if not self._config.register:
            return await self._nodes.get(self._config.node_name)
        try:
            return await self._nodes.create(wanted)
        except AlreadyExists:
            node = await self._nodes.get(self._config.node_name)
        held = {"labels": node.metadata.labels, "annotations": node.metadata.annotations}
        missing = {
            field: {key: value for key, value in wanted["metadata"][field].items() if present.get(key) != value}
            for field, present in held.items()
        }
        return await self._nodes.patch(node.metadata, {"metadata": missing}) if any(missing.values()) else node

    async def report(self) -> None:
        """Tell the status when it changes, and now and then although it did not."""
        failures = 0
        while True:
            asked = self._wake.is_set()
            self._wake.clear()
            try:
                await self._report_once(asked)
                failures = 0
            except NotFound:
                await self.register()
                self._told = None
                continue
            except (ApiError, Unreachable) as error:
                _log.warning("cannot report the node's status", error=str(error))
                await self._clock.sleep(_RETRY.delay(failures))
                failures += 1
                continue
            await self._next(self._config.look_seconds)

    async def _next(self, seconds: float) -> None:
        """Until `changed`, or for so many seconds."""
        sleep = asyncio.ensure_future(self._clock.sleep(seconds))
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait((sleep, woken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            woken.cancel()

    async def _report_once(self, asked: bool) -> None:
        due = self._told is None or self._clock.monotonic() - self._told_at >= self._config.status_seconds
        inputs = await self._inputs(look_for_images=due or asked)
        fresh = node_status.status(self._config, self.node, inputs)
        shown = self.node is not None and node_status.shows(self.node, fresh)
        if not due and shown and not node_status.facts_changed(self._told, fresh):
            return
        meta = ObjectMeta(name=self._config.node_name)
        self.node = await self._nodes.patch(
            meta, {"status": fresh}, kind="strategic", subresource="status", within=_STATUS_WITHIN
        )
        self._told, self._told_at = fresh, self._clock.monotonic()
        if inputs.closing:
            self._announced.set()

    async def _inputs(self, *, look_for_images: bool) -> NodeInputs:
        info: RuntimeInfo | None = None
        try:
            info = await self._runtime.info()
            if look_for_images:
                self._images = list(await self._runtime.images())
        except RuntimeFault as fault:
            _log.warning("the container runtime does not answer", error=str(fault))
        pressure = node_facts.Pressure()
        if not self._config.simulated:
            pressure = await asyncio.to_thread(node_facts.pressure, self._config.root)
        if self.on_pressure is not None and (pressure.memory or pressure.disk):
            await self.on_pressure(pressure)
        return NodeInputs(self._clock.time(), self._machine, info, pressure, self._images, self.network, self._closing)

    async def renew(self) -> None:
        """Renew the Lease for ever; a try that is not answered soon is given up for another, at another server.

        Who failed twice in a row does not trust the connections that there are, and tells the status when it is back.
        """
        failures = 0
        while True:
            try:
                await self._renew_once()
                if failures >= _DISTRUST:
                    self._told = None
                    self._wake.set()
                failures = 0
                await self._clock.sleep(self._config.lease_renew_seconds)
            except (ApiError, Unreachable) as error:
                _log.warning("cannot renew the node's lease", error=str(error))
                await self._clock.sleep(_RETRY.delay(failures))
                failures += 1
                if failures >= _DISTRUST:
                    await self._client.reconnect()

    async def _renew_once(self) -> None:
        name, now = self._config.node_name, rfc3339_micro(self._clock.time())
        spec = {"holderIdentity": name, "leaseDurationSeconds": self._config.lease_seconds, "renewTime": now}
        meta = ObjectMeta(name=name, namespace=_LEASE_NAMESPACE)
        try:
            await self._leases.patch(meta, {"spec": spec}, within=self._config.lease_renew_within)
        except NotFound:
            # Where the lease is gone the Node may be too, as in a cluster that was restored without it.
            self._told = None
            self.changed()
            uid = self.node.metadata.uid if self.node is not None else ""
            owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}
            made = {"name": name, "namespace": _LEASE_NAMESPACE, "ownerReferences": [owner] if uid else []}
            await self._leases.create({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": made, "spec": spec,
            })  # fmt: skip
