"""What is written for gangs: the bindings of all members, why they wait, evictions, and the status of their PodGroup.

Nothing is bound before all that has to be there for all members is written, and all but the first wait for the first:
what keeps bindings from being made mostly keeps all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tiphys.api.errors import ApiError
from tiphys.client.informer import Informer
from tiphys.client.timers import Timers
from tiphys.client.transport import Unreachable
from tiphys.kinds.core.pod import Pod
from tiphys.scheduler.actions import UNSCHEDULABLE, Actions
from tiphys.scheduler.binding import Bindings
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.gang import Gang
from tiphys.scheduler.gang_attempt import Placement, Room
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.preemption import Preemption
from tiphys.scheduler.profile import Profile
from tiphys.scheduler.queue import SchedulingQueue

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Scheduling:
    """What the scheduling of gangs shares with that of single pods. `slots` bound the writes under way."""

    profiles: Mapping[str, Profile]
    pods: Informer[Pod]
    cluster: Cluster
    queue: SchedulingQueue
    timers: Timers
    actions: Actions
    bindings: Bindings
    preemption: Preemption
    slots: asyncio.Semaphore


class GangWrites:
    def __init__(self, scheduling: Scheduling, give_back: Callable[[Placement, Exception, bool], None]) -> None:
        """`give_back` is told of each binding that failed, with its error, and whether others were made."""
        self._on, self._give_back = scheduling, give_back

    async def refuse(self, gang: Gang, waiting: Iterable[PodInfo], why: str) -> None:
        """Say of all of them why they wait."""
        await self._each(self._refuse(info, why) for info in waiting)
        await self._on.actions.set_group_scheduled(gang.group, "False", UNSCHEDULABLE, why)

    async def _refuse(self, info: PodInfo, why: str) -> None:
        pod = self._on.pods.get(info.key)
        if pod is not None and not pod.spec.node_name and not pod.deleted:
            promise = self._on.cluster.nominated.get(info.key)
            nominated = self._on.cluster.name(promise.row) if promise is not None else ""
            await self._on.actions.refuse(pod, why, nominated)

    async def preempt(self, gang: Gang, waiting: Sequence[PodInfo], room: Room, why: str) -> None:
        """Evict for a gang whose members are promised the room; it is tried again once all are going."""
        preemptor = waiting[0].pod
        try:
            await self.refuse(gang, waiting, why)
            going = await self._each(self._on.actions.evict(each.info, preemptor, each.node) for each in room.victims)
            if not all(going):
                for each in room.placements:
                    self._on.cluster.withdraw(each.info.key)
        finally:
            gang.making_room = False
        if gang.together and gang.complete:
            self._on.queue.add_again(gang)

    async def bind(self, gang: Gang, placements: Sequence[Placement]) -> None:
        failed = await self._each(self._try(self._on.bindings.prepare, each) for each in placements)
        error = next((each for each in failed if each is not None), None)
        if error is None:
            error = await self._try(self._on.bindings.bind, placements[0])
        if error is not None:
            for each in placements:
                self._give_back(each, error, False)
            return
        rest = placements[1:]
        for each, problem in zip(
            rest, await self._each(self._try(self._on.bindings.bind, each) for each in rest), strict=True
        ):  # fmt: skip
            if problem is not None:
                self._give_back(each, problem, True)
        await self._on.actions.set_group_scheduled(gang.group, "True", "Scheduled", "")

    async def _try(self, write: Callable[[PodInfo, str], Awaitable[None]], each: Placement) -> Exception | None:
        try:
            await write(each.info, each.node)
        except (ApiError, Unreachable) as error:
            return error
        return None

    async def _each(self, works: Iterable[Awaitable[Result]]) -> list[Result]:
        """All of them, as many at once as there are slots."""

        async def one(work: Awaitable[Result]) -> Result:
            async with self._on.slots:
                return await work

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(work)) for work in works]
        return [task.result() for task in tasks]
