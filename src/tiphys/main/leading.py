"""What one server of a cluster does for all: scheduler, controllers, upkeep, and the address that people use.

Where the state is shared with other servers it is elected by a Lease; a server that is alone just does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from tiphys.api.http import User
from tiphys.base.clock import Clock
from tiphys.base.tasks import Supervisor
from tiphys.client.client import Client
from tiphys.client.informer import Informers
from tiphys.client.inprocess import InProcess
from tiphys.client.timers import Timers
from tiphys.controllers.base import Context, Runner
from tiphys.main.autoscaling import autoscaler
from tiphys.main.autoscaling.autoscaler import ClusterAutoscaler, Options
from tiphys.main.autoscaling.provider import NodeProvider
from tiphys.main.controllers import Facts, build
from tiphys.node.virtual_address import VirtualAddress, link_of
from tiphys.scheduler import config
from tiphys.scheduler.profile import Profile
from tiphys.scheduler.scheduler import Scheduler
from tiphys.server import component_status
from tiphys.server.assemble import Assembled
from tiphys.server.upkeep import Upkeep

LEASE = "kube-controller-manager"
# What a service's address was taken for may be about to be stored by another server. Seconds.
_ALLOCATION_GRACE = 60.0
# A server that was killed keeps the address for no longer than this, by the kernel's clock. Seconds.
_HELD, _HOLD_AGAIN = 1, 0.25
# By then a renewal has told whether this server still leads. Seconds.
_IN_DOUBT = 3.0
# Announced more than once: who has just heard of the last holder does not listen for a second.
_ANNOUNCED = frozenset({0, 1, 2, 4, 6, 8, 12, 16, 24})
Duty = Callable[[], Awaitable[None]]


def component(assembled: Assembled, name: str) -> Client:
    """A client inside the process that acts as `system:NAME`, one of our own components, with its rights only."""
    user = User(f"system:{name}", groups=("system:authenticated",))
    return Client(InProcess(assembled.server.handle, user, name), manager=name)


def node_client(assembled: Assembled, name: str) -> Client:
    """A client inside the process that acts as the kubelet of a node."""
    user = User(f"system:node:{name}", groups=("system:nodes", "system:authenticated"))
    return Client(InProcess(assembled.server.handle, user, "kubelet"), manager="kubelet")


class Leading:
    """`run` until cancelled, as often as elected. `more` are further duties by name."""

    def __init__(
        self, assembled: Assembled, facts: Facts, clock: Clock, more: Mapping[str, Duty],
        profiles: Sequence[Profile] = (), providers: Sequence[NodeProvider] = (),
        options: Callable[[], Options] = Options,
    ) -> None:  # fmt: skip
        """`providers` make and remove nodes for the cluster autoscaler, which works by `options`."""
        self._profiles, self._providers, self._options = profiles or config.default(), providers, options
        self._autoscaler: ClusterAutoscaler | None = None
        self._assembled, self._facts, self._clock, self._more = assembled, facts, clock, more
        self._supervisor: Supervisor | None = None
        self._controllers: list[str] = []

    async def run(self) -> None:
        async with Supervisor(self._clock) as supervisor:
            self._supervisor = supervisor
            for name, duty in self._more.items():
                supervisor.start(name, duty)
            upkeep = Upkeep(self._assembled.cache, self._clock)
            supervisor.start("compaction", upkeep.compact)
            supervisor.start("event expiry", upkeep.expire_events)
            self._start_components(supervisor)
            try:
                await asyncio.Event().wait()
            finally:
                self._supervisor = None

    def _start_components(self, supervisor: Supervisor) -> None:
        """Start the scheduler and the controllers, over informers that they share."""
        assembled, clock = self._assembled, self._clock
        informers = Informers(component(assembled, "kube-controller-manager"), clock)
        timers = Timers(clock)
        supervisor.start("controller timers", timers.run)

        def context(name: str) -> Context:
            return Context(name, component(assembled, f"controller:{name}"), informers, clock, timers)

        scheduler = Scheduler(component(assembled, "kube-scheduler"), informers, clock, self._profiles)
        controllers = build(context, self._facts)
        if self._providers:
            self._autoscaler = ClusterAutoscaler(
                component(assembled, autoscaler.NAME), informers, clock, self._profiles, self._providers, self._options
            )
            supervisor.start(autoscaler.NAME, self._autoscaler.run)
        for informer in informers:
            supervisor.start(f"{informer.resource.plural} informer", informer.run)
        supervisor.start("scheduler", scheduler.run)
        for controller, its_context in controllers:
            supervisor.start(controller.name, Runner(controller, its_context).run)
        self._controllers = [controller.name for controller, _ in controllers]

    def reload(self) -> None:
        """The settings of the cluster changed."""
        if self._autoscaler is not None:
            self._autoscaler.wake()

    def problem(self, *names: str) -> str:
        """What is wrong with the first of these tasks that does not run; nothing where another server leads."""
        supervisor = self._supervisor
        return "" if supervisor is None else next(filter(None, map(supervisor.problem, names)), "")

    def checks(self, store: Callable[[], str]) -> component_status.Checks:
        return {
            "scheduler": lambda: self.problem("scheduler"),
            "controller-manager": lambda: self.problem(*self._controllers),
            "etcd-0": store,
        }


async def repair_allocations(assembled: Assembled, clock: Clock) -> None:
    await assembled.addresses.repair(clock, _ALLOCATION_GRACE)


async def hold_address(address: str, clock: Clock) -> None:
    """Have the virtual address until cancelled."""
    held = VirtualAddress(address, await link_of(address))
    turn, last = 0, clock.monotonic()
    try:
        while True:
            if clock.monotonic() - last > _HELD:
                # This process stood still: the kernel has taken the address, and another server may have it by now.
                await clock.sleep(_IN_DOUBT)
                turn = 0
            held.hold(_HELD)
            last = clock.monotonic()
            if turn in _ANNOUNCED:
                held.announce()
            turn += 1
            await clock.sleep(_HOLD_AGAIN)
    finally:
        held.release()
