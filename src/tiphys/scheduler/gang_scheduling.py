"""The scheduling of gangs: wait until all are there, place all on the model, bind all; or none.

A gang never holds places for some of its members: what one attempt places it places for good or takes back before
anything else is tried, so two gangs cannot each wait for what the other holds.
Source: https://github.com/kubernetes/enhancements/tree/master/keps/sig-scheduling/4671-gang-scheduling
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tiphys.base.log import Log
from tiphys.base.tasks import Supervisor
from tiphys.client.informer import Informer
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.scheduling.podgroup import PodGroup
from tiphys.scheduler import plugin
from tiphys.scheduler.binding import ATTEMPTS
from tiphys.scheduler.gang import Gang, Gangs
from tiphys.scheduler.gang_attempt import Placement, Refused, Room, attempt, make_room
from tiphys.scheduler.gang_writes import GangWrites, Scheduling
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.preemption import UNDER_WAY

_log = Log("scheduler")
# So long a gang may take to come before its pods say that they wait.
_PATIENCE_SECONDS = 1.0


class GangScheduling:
    def __init__(self, scheduling: Scheduling, groups: Informer[PodGroup]) -> None:
        self._on, self._gangs = scheduling, Gangs()
        self._writes = GangWrites(scheduling, self._give_back)
        self._supervisor: Supervisor | None = None
        groups.add_handler(self._on_group)

    def __len__(self) -> int:
        """How many pods wait in gangs."""
        return self._gangs.pending

    def start(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def add(self, info: PodInfo) -> bool:
        """A pod waits for a node; whether it is a gang that it waits with."""
        gang = self._gangs.add(info)
        if gang is None or not gang.together:
            return False
        self._consider(gang)
        return True

    def placed(self, pod: Pod) -> None:
        gang = self._gangs.place(pod)
        if gang is not None:
            self._consider(gang)

    def gone(self, key: str) -> None:
        gang = self._gangs.leave(key)
        if gang is not None:
            self._consider(gang)

    def entry(self, key: str) -> str:
        """Under which key a waiting pod is queued."""
        gang = self._gangs.of(key)
        return gang.key if gang is not None and gang.together and key in gang.pending else key

    def _on_group(self, old: PodGroup | None, new: PodGroup | None) -> None:
        if old is None or new is None or old.spec != new.spec:
            self._consider(self._gangs.set_group(old, new))
        else:
            self._gangs.set_group(old, new)

    def _consider(self, gang: Gang) -> None:
        """Queue what may be tried now: the gang, or its pods each by itself if they need not wait for each other."""
        if not gang.together or not gang.complete:
            self._on.queue.remove(gang.key)
        if gang.together and gang.apart:
            for key in gang.pending:
                self._on.queue.remove(key)
        gang.apart = not gang.together
        if gang.apart:
            for info in gang.pending.values():
                self._on.queue.add_again(info)
        elif gang.complete:
            self._on.timers.cancel((gang.key, "waits"))
            self._on.queue.add_again(gang)
        elif gang.pending:
            self._on.timers.call_after(_PATIENCE_SECONDS, (gang.key, "waits"), lambda: self._say_that_it_waits(gang))

    def _say_that_it_waits(self, gang: Gang) -> None:
        if self._supervisor is not None and gang.together and not gang.complete:
            said = self._writes.refuse(gang, list(gang.pending.values()), gang.waits_for)
            self._supervisor.once(f"{gang.key} waits", said)

    def schedule(self, gang: Gang, supervisor: Supervisor) -> None:
        """Try all of a gang that the queue has given out."""
        promised = {key: row for key in gang.pending if (row := self._withdraw(key)) is not None}
        try:
            found = attempt(gang, self._on.cluster, self._on.profiles, promised)
        except Exception as error:  # noqa: BLE001 - a plugin of the user's may raise anything; the others' pods go on
            self._failed(gang, error)
            return
        if isinstance(found, Refused):
            self._set_aside(gang, found, promised, supervisor)
            return
        for each in found:
            self._on.bindings.adopt(each.info, each.node)
            self._gangs.place(each.info.pod)
        supervisor.once(f"bind {gang.key}", self._writes.bind(gang, found))
        # Those that were too many are on their own now.
        self._consider(gang)

    def _withdraw(self, key: str) -> int | None:
        promise = self._on.cluster.withdraw(key)
        return promise.row if promise is not None else None

    def _failed(self, gang: Gang, error: Exception) -> None:
        _log.error("plugin failed", group=gang.name, error=error)
        for info in gang.pending.values():
            ATTEMPTS.inc("error", info.pod.spec.scheduler_name)
            self._on.actions.failed(info.pod, error)
        self._on.queue.back_off(gang)

    def _set_aside(self, gang: Gang, found: Refused, promised: Mapping[str, int], supervisor: Supervisor) -> None:
        """Have a gang wait that does not fit, and make room for all of it if that is possible."""
        waiting, why = list(gang.pending.values()), str(found)
        profiles = {info.pod.spec.scheduler_name for info in waiting}
        plugins = [each for name in profiles for each in self._on.profiles[name].plugins]
        self._on.queue.waits(gang, frozenset().union(*(each.retry_on for each in plugins), {plugin.NODE_ADDED}))
        for info in waiting:
            ATTEMPTS.inc("unschedulable", info.pod.spec.scheduler_name)
        for helping in self._on.profiles[found.info.pod.spec.scheduler_name].helping:
            if helping.name in found.found.plugins:
                supervisor.once(f"{helping.name} for {found.info.key}", self._on.bindings.help(found.info, helping))
        if self._is_under_way(gang, promised):
            self._promise(Placement(gang.pending[key], self._on.cluster.name(row)) for key, row in promised.items())
            room: Room | str = UNDER_WAY
        else:
            room = make_room(gang, self._on.cluster, self._on.profiles, self._on.preemption)
        if isinstance(room, Room):
            gang.making_room = True
            self._promise(room.placements)
            supervisor.once(f"preempt for {gang.key}", self._writes.preempt(gang, waiting, room, why))
        else:
            supervisor.once(f"refuse {gang.key}", self._writes.refuse(gang, waiting, f"{why} preemption: {room}"))

    def _is_under_way(self, gang: Gang, promised: Mapping[str, int]) -> bool:
        """Whether a pod that was evicted for the gang has yet to go."""
        return gang.making_room or any(
            other.pod.deleted and other.priority < gang.pending[key].priority
            for key, row in promised.items()
            for other in self._on.cluster.pods(row)
        )

    def _promise(self, placements: Iterable[Placement]) -> None:
        for each in placements:
            self._on.cluster.nominate(each.info, each.node)

    def _give_back(self, each: Placement, error: Exception, others_are_bound: bool) -> None:
        """A binding failed; if others of the gang were made, nobody else is to take the place meanwhile."""
        if not self._on.bindings.take_back(each.info, error):
            return
        gang = self._gangs.add(each.info)
        self._on.queue.happened(plugin.POD_REMOVED, each.info)
        if others_are_bound:
            self._promise([each])
        if gang is None or not gang.together:
            self._on.queue.back_off(each.info)
        elif gang.complete:
            self._on.queue.back_off(gang)
