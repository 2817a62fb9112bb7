"""The proxy's loop: when a Service or one of its slices changes, bring the kernel's table up to date.

Changes that come together are applied together. If a transaction is refused the table is made anew from everything, so
an edit from outside heals itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.base.metrics import Counter, Histogram
from tiphys.client.informer import Informers
from tiphys.kinds.core.service import SERVICES, Service
from tiphys.kinds.core.sleep import sleeps_after
from tiphys.kinds.discovery.endpointslice import ENDPOINT_SLICES, EndpointSlice
from tiphys.node import nft
from tiphys.node.nft_state import State, script
from tiphys.proxy.activator import Activator
from tiphys.proxy.plan import Port, ports_of
from tiphys.proxy.rules import Setting, state_of, table
from tiphys.proxy.traffic import counter_of

_log = Log("proxy")
_SERVICE_NAME = "kubernetes.io/service-name"
_RETRY = Backoff(0.2, 30.0)
_SECONDS = Histogram(
    "kubeproxy_sync_proxy_rules_duration_seconds", "Time to bring the kernel's rules up to date.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)  # fmt: skip
_FAILURES = Counter("kubeproxy_sync_failures_total", "Transactions that the kernel refused.")


class Proxy:
    def __init__(
        self, informers: Informers, node: str, setting: Setting, clock: Clock, activator: Activator
    ) -> None:  # fmt: skip
        """`activator` holds connections to Services that sleep."""
        self._activator = activator
        # Called when other Services than before may sleep.
        self.sleepers_changed: Callable[[], None] = lambda: None
        self._sleepers: dict[str, int] = {}
        self._services, self._slices = informers.of(SERVICES), informers.of(ENDPOINT_SLICES)
        self._node, self._setting, self._clock = node, setting, clock
        self._ports: dict[str, tuple[Port, ...]] = {}
        self._dirty: set[str] = set()
        self._woken = asyncio.Event()
        self._applied: State | None = None
        self._slices.add_index("service", _service_of)
        self._services.add_handler(self._on_service)
        self._slices.add_handler(self._on_slice)

    async def run(self) -> None:
        await self._services.synced.wait()
        await self._slices.synced.wait()
        failures = 0
        while True:
            self._woken.clear()
            self._recompute()
            try:
                await self._sync()
                failures = 0
            except OSError as error:
                _log.error("cannot hold connections to sleeping Services", error=error)
                await self._clock.sleep(_RETRY.delay(failures))
                failures += 1
                continue
            except nft.NftError as error:
                _FAILURES.inc()
                _log.error("rules refused, making the table anew", error=error)
                self._applied = None
                await self._clock.sleep(_RETRY.delay(failures))
                failures += 1
                continue
            await self._woken.wait()

    def _recompute(self) -> None:
        for key in self._dirty:
            service = self._services.get(key)
            ports = tuple(ports_of(service, self._slices.by("service", key), self._node)) if service else ()
            if self._may_sleep(key, service):
                ports = tuple(replace(port, counter=counter_of(key)) for port in ports)
            if ports:
                self._ports[key] = ports
            else:
                self._ports.pop(key, None)
        self._dirty.clear()

    async def _sync(self) -> None:
        started = self._clock.monotonic()
        await self._activator.serve(
            port.name for key in self._sleepers for port in self._ports.get(key, ()) if port.protocol == "tcp"
        )
        wanted = state_of(self._held(port) for ports in self._ports.values() for port in ports)
        text = script(f"ip {self._setting.table}", self._applied or State(), wanted)
        if self._applied is None:
            text = table(self._setting) + text
        if text:
            await nft.apply(text)
            self._applied = wanted
            _SECONDS.observe(self._clock.monotonic() - started)

    def sleepers(self) -> dict[str, int]:
        """The Services that may sleep, by key, and after how many seconds they do."""
        return dict(self._sleepers)

    def _may_sleep(self, key: str, service: Service | None) -> bool:
        after = sleeps_after(service) if service is not None else None
        if after != self._sleepers.get(key):
            if after is None:
                del self._sleepers[key]
            else:
                self._sleepers[key] = after
            self.sleepers_changed()
        return after is not None

    def _held(self, port: Port) -> Port:
        """The port as the kernel is to serve it: by the activator, while nobody else does."""
        if not port.counter:
            return port
        self._activator.serves(port.name, port.backends)
        held = self._activator.socket_of(port.name)
        if held is None or port.backends:
            return port
        return replace(port, backends=(held,), external=(held,), local=False, affinity=0, counter="")

    def _on_service(self, old: Service | None, new: Service | None) -> None:
        self._mark(obj.metadata.key for obj in (old, new) if obj is not None)

    def _on_slice(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        self._mark(key for obj in (old, new) if obj is not None for key in _service_of(obj))

    def _mark(self, keys: Iterable[str]) -> None:
        self._dirty.update(keys)
        self._woken.set()


def _service_of(found: EndpointSlice) -> tuple[str, ...]:
    name = found.metadata.labels.get(_SERVICE_NAME)
    return (f"{found.metadata.namespace}/{name}",) if name else ()
