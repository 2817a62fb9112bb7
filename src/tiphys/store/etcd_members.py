"""The members of an etcd cluster: who they are and how they fare; adding, removing, healing.

A new member begins as a learner, which has no vote: one that never comes up cannot cost the others their quorum.
Source: https://etcd.io/docs/v3.4/learning/design-learner/ and https://etcd.io/docs/v3.4/op-guide/maintenance/
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from google.protobuf.message import Message

from tiphys.base.grpc import RpcChannel, RpcError, RpcUnavailable
from tiphys.store import etcd_cluster_pb2 as pb
from tiphys.store.protocol import Unavailable

M = TypeVar("M", bound=Message)
_SECONDS = 5.0
# Defragmenting stops a member for as long as it takes.
_DEFRAGMENT_SECONDS = 120.0
_CLUSTER, _MAINTENANCE = "/etcdserverpb.Cluster/", "/etcdserverpb.Maintenance/"
NO_SPACE, CORRUPT = 1, 2


@dataclass(frozen=True, slots=True)
class Member:
    """`name` is empty until it has started once; `endpoint` is HOST:PORT for clients, as far as it is known."""

    id: int
    name: str
    peer: str
    endpoint: str
    learner: bool


@dataclass(frozen=True, slots=True)
class Health:
    """`size` and `used` in bytes of the database file; what is between them is given back by defragmentation."""

    version: str
    size: int
    used: int
    leads: bool
    learner: bool
    problems: Sequence[str]


class EtcdMembers:
    """Calls go to the first endpoint that answers, in turn. They raise Unavailable, also for what etcd refuses."""

    def __init__(self, endpoints: Sequence[str], tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._channels = {endpoint: RpcChannel(endpoint, tls) for endpoint in endpoints}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()

    async def members(self) -> list[Member]:
        found = await self._any(_CLUSTER + "MemberList", pb.MemberListRequest(), pb.Members)
        return [_member(member) for member in found.members]

    async def add(self, peer: str) -> Member:
        """A learner that will talk to others at the URL `peer`."""
        request = pb.MemberAddRequest(peerURLs=[peer], isLearner=True)
        return _member((await self._any(_CLUSTER + "MemberAdd", request, pb.MemberAddResponse)).member)

    async def promote(self, member: int) -> bool:
        """Give a learner its vote; whether it had caught up enough for that."""
        try:
            await self._any(_CLUSTER + "MemberPromote", pb.MemberPromoteRequest(ID=member), pb.Members)
        except _Refused as refusal:
            if refusal.code == "FAILED_PRECONDITION":
                return False
            raise
        return True

    async def remove(self, member: int) -> None:
        await self._any(_CLUSTER + "MemberRemove", pb.MemberRemoveRequest(ID=member), pb.Members)

    async def health(self, endpoint: str) -> Health:
        found = await self._call(endpoint, _MAINTENANCE + "Status", pb.StatusRequest(), pb.StatusResponse)
        leads = found.leader == found.header.member_id
        return Health(found.version, found.dbSize, found.dbSizeInUse, leads, found.isLearner, list(found.errors))

    async def alarms(self) -> list[tuple[int, int]]:
        """(member, NO_SPACE or CORRUPT) pairs; while there is one, etcd takes no writes that need space."""
        found = await self._any(_MAINTENANCE + "Alarm", pb.AlarmRequest(), pb.AlarmResponse)
        return [(alarm.memberID, alarm.alarm) for alarm in found.alarms]

    async def disarm(self, member: int, alarm: int) -> None:
        request = pb.AlarmRequest(action=2, memberID=member, alarm=alarm)
        await self._any(_MAINTENANCE + "Alarm", request, pb.AlarmResponse)

    async def defragment(self, endpoint: str) -> None:
        request = pb.DefragmentRequest()
        method = _MAINTENANCE + "Defragment"
        await self._call(endpoint, method, request, pb.DefragmentResponse, _DEFRAGMENT_SECONDS)

    async def move_leader(self, leader: str, to: int) -> None:
        """Have the member at the endpoint `leader` hand its leadership to another."""
        request = pb.MoveLeaderRequest(targetID=to)
        await self._call(leader, _MAINTENANCE + "MoveLeader", request, pb.MoveLeaderResponse)

    async def _any(self, method: str, request: Message, response: type[M]) -> M:
        reason = "it has no endpoint"
        for endpoint in list(self._channels):
            try:
                return await self._call(endpoint, method, request, response)
            except _Refused:
                raise
            except Unavailable as error:
                reason = error.reason
        raise Unavailable(reason)

    async def _call(
        self, endpoint: str, method: str, request: Message, response: type[M], within: float = _SECONDS
    ) -> M:
        channel = self._channels.get(endpoint)
        if channel is None:
            channel = self._channels[endpoint] = RpcChannel(endpoint, self._tls)
        try:
            async with asyncio.timeout(within):
                return await channel.unary(method, request, response, within=within)
        except (RpcUnavailable, TimeoutError) as error:
            raise Unavailable(f"etcd at {endpoint} does not answer: {error}") from error
        except RpcError as error:
            raise _Refused(f"etcd at {endpoint} refused: {error.message} ({error.code})", error.code) from error


class _Refused(Unavailable):
    """etcd was there and would not."""

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.code = code


def _member(member: pb.Member) -> Member:
    endpoint = member.clientURLs[0].partition("://")[2] if member.clientURLs else ""
    peer = member.peerURLs[0] if member.peerURLs else ""
    return Member(member.ID, member.name, peer, endpoint, member.isLearner)
