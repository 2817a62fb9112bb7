"""Which member of etcd is asked next when one does not answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tiphys.base.clock import settle
from tiphys.base.grpc import RpcUnavailable
from tiphys.store import etcd_pb2 as pb
from tiphys.store.etcd_api import EtcdApi


class Member:
    """Answers at once, or hangs until it is told that the time of those who wait is over."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.asked, self._over = 0, asyncio.Event()
        if not hangs:
            self._over.set()
        self._hangs = hangs

    async def unary(self, method: str, request: Any, response: Any, *, within: float) -> pb.RangeResponse:
        self.asked += 1
        await self._over.wait()
        if self._hangs:
            raise RpcUnavailable("DEADLINE_EXCEEDED", "no answer in time", method)
        return pb.RangeResponse()

    def give_up(self) -> None:
        self._over.set()


@pytest.mark.parametrize("together", [1, 2, 3, 4, 5])
async def test_however_many_wait_for_one_that_hangs_it_is_left_once(together: int) -> None:
    members = [Member(hangs=True), Member(), Member()]
    api = EtcdApi([], None)
    api._channels = list(members)  # type: ignore[arg-type]
    calls = [asyncio.create_task(api.range(pb.RangeRequest(key=b"k"))) for _ in range(together)]
    await settle()
    members[0].give_up()
    await asyncio.gather(*calls)
    assert [member.asked for member in members] == [together, together, 0]
