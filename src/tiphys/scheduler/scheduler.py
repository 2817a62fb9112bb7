"""The scheduling loop: take a pod, choose a node, count it there at once, and bind it in the background.

The cluster's arrays are fed by informers; a pod is counted from the moment it is assumed, so the next decision sees it
without waiting for the API server. A binding that fails takes the assumption back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tiphys.api.errors import ApiError
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.base.metrics import Gauge
from tiphys.base.tasks import Supervisor
from tiphys.client.client import Client
from tiphys.client.informer import Informers
from tiphys.client.timers import Timers
from tiphys.client.transport import Unreachable
from tiphys.kinds.core.namespace import NAMESPACES, Namespace
from tiphys.kinds.core.node import NODES, Node
from tiphys.kinds.core.pod import PODS, Pod
from tiphys.kinds.policy.poddisruptionbudget import POD_DISRUPTION_BUDGETS, PodDisruptionBudget
from tiphys.kinds.scheduling.podgroup import POD_GROUPS
from tiphys.scheduler import config, plugin
from tiphys.scheduler.actions import Actions
from tiphys.scheduler.binding import ATTEMPTS, Bindings
from tiphys.scheduler.changes import counts_otherwise, differs, is_news
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.fairness import FairSort
from tiphys.scheduler.gang import Gang
from tiphys.scheduler.gang_scheduling import GangScheduling
from tiphys.scheduler.gang_writes import Scheduling
from tiphys.scheduler.kin import KINDS, Kin
from tiphys.scheduler.pipeline import Unschedulable, choose
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.preemption import UNDER_WAY, Candidate, Preemption, budget_of, helpless
from tiphys.scheduler.profile import Profile
from tiphys.scheduler.queue import SchedulingQueue
from tiphys.scheduler.viewing import feed

_log = Log("scheduler")
_PENDING = Gauge("scheduler_pending_pods", "Pods that have no node yet.")
# Bindings under way at once; each is one write of the API server, which groups their commits.
_BINDINGS = 256


class Scheduler:
    """Places the pods of its `profiles`, each by the plugins of the one that the pod names."""

    def __init__(
        self, client: Client, informers: Informers, clock: Clock, profiles: Sequence[Profile] = ()
    ) -> None:  # fmt: skip
        """Without `profiles` there is the default one, with the plugins that are installed."""
        self._clock = clock
        self._profiles = {profile.name: profile for profile in profiles or config.default()}
        self._pods, self._nodes = informers.of(PODS), informers.of(NODES)
        self._budgets, self._spaces = informers.of(POD_DISRUPTION_BUDGETS), informers.of(NAMESPACES)
        self._kin = Kin(informers.of)
        self._client = client
        self._timers = Timers(clock)
        self._cluster = Cluster()
        # All profiles have the same: there is one queue.
        fairness = next(iter(self._profiles.values())).fairness
        order = FairSort(fairness, self._cluster) if fairness is not None else None
        self._queue = SchedulingQueue(clock, self._timers, order)
        self._preemption = Preemption()
        self._actions = Actions(client, clock)
        self._slots = asyncio.Semaphore(_BINDINGS)
        self._bindings = Bindings(self._cluster, self._profiles, self._actions, self._slots)
        self._groups = informers.of(POD_GROUPS)
        self._gangs = GangScheduling(self._shared(), self._groups)
        # Pods whose node is not known yet, by the node's name.
        self._homeless: dict[str, dict[str, PodInfo]] = {}
        self._fed = [
            *feed(self._cluster, self._profiles.values(), informers, self._queue.happened),
            *map(informers.of, KINDS),
            self._groups,
            self._spaces,
        ]
        self._fed += [self._budgets, self._nodes, self._pods]
        self._spaces.add_handler(self._on_namespace)
        self._budgets.add_handler(self._on_budget)
        self._nodes.add_handler(self._on_node)
        self._pods.add_handler(self._on_pod)
        _PENDING.read_with(lambda: float(len(self._queue) + len(self._gangs)))

    def _shared(self) -> Scheduling:
        return Scheduling(
            self._profiles, self._pods, self._cluster, self._queue, self._timers,
            self._actions, self._bindings, self._preemption, self._slots,
        )  # fmt: skip

    async def run(self) -> None:
        async with Supervisor(self._clock) as supervisor:
            supervisor.start("scheduler timers", self._timers.run)
            for name in self._profiles:
                self._actions.recorder(name)
            self._actions.start(supervisor)
            self._gangs.start(supervisor)
            for informer in self._fed:
                await informer.synced.wait()
            while True:
                entry = await self._queue.pop()
                await self._slots.acquire()
                if isinstance(entry, Gang):
                    self._slots.release()
                    self._gangs.schedule(entry, supervisor)
                else:
                    self._schedule(entry, supervisor)
                # Lets informers and bindings in between two decisions.
                await asyncio.sleep(0)

    def _schedule(self, info: PodInfo, supervisor: Supervisor) -> None:
        current = self._pods.get(info.key)
        if current is None or current.spec.node_name or current.deleted or info.key in self._bindings:
            self._slots.release()
            return
        profile = self._profiles[current.spec.scheduler_name]
        promise = self._cluster.withdraw(info.key)
        promised = promise.row if promise is not None else None
        try:
            gate = next((each for each in profile.gating if not each.pre_enqueue(info, self._cluster)), None)
            if gate is not None:
                self._queue.holds(info, gate.retry_on, (gate,))
                self._slots.release()
                return
            found = choose(info, self._cluster, profile.plugins, promised)
        except Exception as error:  # noqa: BLE001 - a plugin of the user's may raise anything; the others' pods go on
            self._failed(info, current, error)
            return
        if isinstance(found, Unschedulable):
            ATTEMPTS.inc("unschedulable", profile.name)
            self._set_aside(info, current, found, promised, supervisor)
            return
        node = self._cluster.name(found)
        self._bindings.assume(info, node)
        supervisor.once(f"bind {info.key}", self._bind(info, node))

    def _failed(self, info: PodInfo, pod: Pod, error: Exception) -> None:
        """A plugin failed: say so, and try this pod again later."""
        ATTEMPTS.inc("error", pod.spec.scheduler_name)
        _log.error("plugin failed", pod=info.key, error=error)
        self._actions.failed(pod, error)
        self._queue.back_off(info)
        self._slots.release()

    def _set_aside(
        self, info: PodInfo, pod: Pod, found: Unschedulable, promised: int | None, supervisor: Supervisor
    ) -> None:  # fmt: skip
        """Have a pod wait that no node takes, and make room for it if that is possible."""
        profile = self._profiles[pod.spec.scheduler_name]
        refusing = tuple(each for each in profile.plugins if each.name in found.plugins)
        events = frozenset().union(*(each.retry_on for each in refusing), {plugin.NODE_ADDED})
        self._queue.waits(info, events, refusing)
        for each in profile.helping:
            if each in refusing:
                supervisor.once(f"{each.name} for {info.key}", self._bindings.help(info, each))
        room = self._make_room(info, profile, found, promised) if profile.preempts and found.nodes else ""
        if isinstance(room, Candidate):
            node = self._cluster.name(room.row)
            self._cluster.nominate(info, node)
            supervisor.once(f"preempt for {info.key}", self._preempt(info, pod, room, str(found)))
            return
        if room == UNDER_WAY and promised is not None:
            self._cluster.nominate(info, self._cluster.name(promised))
        why = f"{found} preemption: {room}" if room else str(found)
        supervisor.once(f"refuse {info.key}", self._refuse(info, pod, why))

    def _make_room(
        self, info: PodInfo, profile: Profile, found: Unschedulable, promised: int | None
    ) -> Candidate | str:  # fmt: skip
        if promised is not None and info.pod.spec.preemption_policy != "Never":
            mine = info.pod.spec.priority
            if any(other.pod.deleted and other.pod.spec.priority < mine for other in self._cluster.pods(promised)):
                return UNDER_WAY
        if found.refusal:
            return helpless(found.nodes)
        return self._preemption.find(info, self._cluster, profile.plugins)

    async def _preempt(self, info: PodInfo, pod: Pod, room: Candidate, why: str) -> None:
        node = self._cluster.name(room.row)
        try:
            await self._actions.refuse(pod, why, node)
            for victim in room.victims:
                if not await self._actions.evict(victim, pod, node):
                    self._cluster.withdraw(info.key)
                    self._queue.back_off(info)
                    return
        finally:
            self._slots.release()

    async def _refuse(self, info: PodInfo, pod: Pod, why: str) -> None:
        try:
            promise = self._cluster.nominated.get(info.key)
            await self._actions.refuse(pod, why, self._cluster.name(promise.row) if promise is not None else "")
        finally:
            self._slots.release()

    async def _bind(self, info: PodInfo, node: str) -> None:
        try:
            await self._bindings.prepare(info, node)
            await self._bindings.bind(info, node)
        except (ApiError, Unreachable) as error:
            if self._bindings.take_back(info, error):
                self._queue.happened(plugin.POD_REMOVED, info)
                self._queue.back_off(info)
        finally:
            self._slots.release()

    def _on_node(self, old: Node | None, new: Node | None) -> None:
        if new is None:
            assert old is not None, "a change has at least one side"
            left = {info.key: info for info in self._cluster.remove_node(old.metadata.name)}
            if left:
                self._homeless.setdefault(old.metadata.name, {}).update(left)
            self._queue.happened(plugin.NODE_REMOVED, old)
            return
        self._cluster.set_node(new)
        if old is None:
            for info in self._homeless.pop(new.metadata.name, {}).values():
                self._cluster.place(info, new.metadata.name)
            self._queue.happened(plugin.NODE_ADDED, new)
        elif differs(old, new):
            self._queue.happened(plugin.NODE_CHANGED, new)

    def _on_budget(self, old: PodDisruptionBudget | None, new: PodDisruptionBudget | None) -> None:
        either = new or old
        assert either is not None, "a change has at least one side"
        self._preemption.set_budget(either.metadata, budget_of(new) if new is not None else None)

    def _on_namespace(self, old: Namespace | None, new: Namespace | None) -> None:
        gone = new or old
        assert gone is not None, "a change has at least one side"
        labels = new.metadata.labels if new is not None else None
        if self._cluster.population.set_namespace(gone.metadata.name, labels):
            self._queue.happened(plugin.NAMESPACE_CHANGED)

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        if old is not None and new is not None and old.metadata.uid != new.metadata.uid:
            # A list taken anew may show another pod of the same name.
            self._forget(old)
            old = None
        if new is None or new.finished:
            gone = new or old
            assert gone is not None, "a change has at least one side"
            self._forget(gone)
            if gone.status.phase == "Succeeded" and new is not None:
                self._gangs.placed(gone)
            return
        info = PodInfo(new)
        if new.spec.node_name:
            self._bindings.confirmed(info.key)
            self._cluster.withdraw(info.key)
            self._queue.remove(info.key)
            self._gangs.placed(new)
            if old is not None and not counts_otherwise(old, new):
                self._cluster.renew(info)
                return
            if not self._cluster.place(info, new.spec.node_name):
                self._homeless.setdefault(new.spec.node_name, {})[info.key] = info
            elif old is not None and old.spec.node_name:
                self._queue.happened(plugin.POD_CHANGED, info)
            else:
                self._queue.happened(plugin.POD_PLACED, info)
        elif info.key not in self._bindings and self._is_ours(new) and is_news(old, new):
            if new.status.nominated_node_name and info.key not in self._cluster.nominated:
                self._cluster.nominate(info, new.status.nominated_node_name)
            waiting = PodInfo(new, self._kin.of)
            if not self._gangs.add(waiting):
                self._queue.add(waiting)
        elif new.deleted:
            self._gangs.gone(info.key)

    def _forget(self, pod: Pod) -> None:
        key = pod.metadata.key
        self._queue.remove(key)
        self._bindings.drop(key)
        self._gangs.gone(key)
        homeless = self._homeless.get(pod.spec.node_name, {})
        homeless.pop(key, None)
        if not homeless:
            self._homeless.pop(pod.spec.node_name, None)
        self._cluster.withdraw(key)
        row = self._cluster.row(pod.spec.node_name)
        if self._cluster.remove_pod(key):
            self._queue.happened(plugin.POD_REMOVED, PodInfo(pod))
            for waiting in self._cluster.expected(row) if row is not None else ():
                self._queue.activate(self._gangs.entry(waiting))

    def _is_ours(self, pod: Pod) -> bool:
        return pod.spec.scheduler_name in self._profiles and not pod.spec.scheduling_gates and not pod.deleted
