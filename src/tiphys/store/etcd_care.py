"""Keeps an etcd cluster able to write: gives back the space of what was compacted, and heals the alarm of a full one.

A database only grows until it is defragmented, and at its quota etcd takes no writes at all ("database space
exceeded") until somebody compacts, defragments and disarms. One server of a cluster does this. Members are
defragmented one at a time, the leader last and after it has handed over: a member answers nobody meanwhile.
Source: https://etcd.io/docs/v3.4/op-guide/maintenance/
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.store.etcd import EtcdStore
from tiphys.store.etcd_members import CORRUPT, NO_SPACE, EtcdMembers, Health, Member
from tiphys.store.protocol import Unavailable

_log = Log("etcd")
_LOOK_SECONDS = 300.0
# Not worth a member's absence below this many bytes, or where less than half would be given back.
_WORTH, _SHARE = 100 * 2**20, 0.5


class EtcdCare:
    def __init__(self, store: EtcdStore, members: EtcdMembers, clock: Clock) -> None:
        self._store, self._members, self._clock = store, members, clock

    async def run(self) -> None:
        """Look now, every five minutes, and whenever a write was refused for want of space. For ever."""
        while True:
            try:
                await self.look()
            except Unavailable as error:
                _log.warning("cannot look after etcd now", reason=error.reason)
            full = asyncio.ensure_future(self._store.full.wait())
            rest = asyncio.ensure_future(self._clock.sleep(_LOOK_SECONDS))
            try:
                await asyncio.wait({full, rest}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                full.cancel()
                rest.cancel()

    async def look(self) -> None:
        self._store.full.clear()
        alarms = await self._members.alarms()
        for member, alarm in alarms:
            if alarm == CORRUPT:
                _log.error("a member of etcd is corrupt: remove and replace its node", member=f"{member:x}")
        full = [(member, alarm) for member, alarm in alarms if alarm == NO_SPACE]
        if full:
            _log.error("etcd is full and takes no writes; compacting and defragmenting it", members=len(full))
            with suppress(Unavailable):
                await self._store.compact(await self._store.current())
        await self._defragment(even=bool(full))
        for member, alarm in full:
            await self._members.disarm(member, alarm)

    async def _defragment(self, *, even: bool) -> None:
        """Give back space where that is worth it; `even` where it is not."""
        found = [(member, await self._members.health(member.endpoint)) for member in await self._voters()]
        found.sort(key=lambda pair: pair[1].leads)
        for member, health in found:
            if not even and (health.size < _WORTH or health.used > health.size * _SHARE):
                continue
            if health.leads:
                await self._hand_over(member, found)
            await self._members.defragment(member.endpoint)
            now = await self._members.health(member.endpoint)
            _log.info("defragmented", member=member.name, before=health.size, after=now.size)

    async def _voters(self) -> list[Member]:
        return [member for member in await self._members.members() if member.endpoint and not member.learner]

    async def _hand_over(self, leader: Member, found: Sequence[tuple[Member, Health]]) -> None:
        others = [member for member, _ in found if member.id != leader.id]
        if others:
            await self._members.move_leader(leader.endpoint, others[0].id)
