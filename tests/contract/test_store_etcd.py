"""What only etcd has: other writers, and keys that are not ours."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from etcd_process import etcd, members

from tiphys.base.clock import SystemClock
from tiphys.store import ABSENT, Record, Unavailable
from tiphys.store import etcd_pb2 as pb
from tiphys.store.etcd import EtcdStore
from tiphys.store.etcd_api import EtcdApi
from tiphys.store.etcd_care import EtcdCare
from tiphys.store.etcd_members import EtcdMembers


@pytest.fixture
async def endpoint(tmp_path: Path) -> AsyncIterator[str]:
    async with etcd(tmp_path / "etcd") as found:
        yield found


async def test_each_of_two_servers_sees_what_the_other_wrote(endpoint: str) -> None:
    one, two = await EtcdStore.open([endpoint]), await EtcdStore.open([endpoint])
    try:
        async with two.watch("/", after=two.revision) as events:
            written = await one.put("/registry/a", b"1")
            assert await two.current() == written
            assert [(event.key, event.revision) for event in await anext(events)] == [("/registry/a", written)]
        assert await two.delete("/registry/a", written) == await one.current()
    finally:
        await one.close()
        await two.close()


async def test_keys_of_others_do_not_hold_anybody_up(endpoint: str) -> None:
    api, store = EtcdApi([endpoint], None), await EtcdStore.open([endpoint])
    try:
        mine = await store.put("/registry/a", b"1")
        other = pb.RequestOp(request_put=pb.PutRequest(key=b"somebody", value=b"else"))
        await api.txn(pb.TxnRequest(success=[other]))
        # The revision of our last change: who follows our keys has everything there is.
        assert await store.current() == mine
        async with store.watch("/", after=store.revision - 1) as events:
            assert [event.key for event in await anext(events)] == ["/registry/a"]
    finally:
        await store.close()
        api.close()


async def test_a_filled_etcd_counts_on_from_there_when_it_is_opened_again(endpoint: str) -> None:
    async def records() -> AsyncIterator[Sequence[Record]]:
        yield [Record("/a", b"1", 5, 5)]

    store = await EtcdStore.open([endpoint])
    filled = await store.fill(records(), 1_000_000)
    await store.close()
    store = await EtcdStore.open([endpoint])
    try:
        assert store.revision == filled
        found = await store.get("/a")
        assert found is not None
        assert 1_000_000 < found.revision <= filled
        assert await store.put("/a", b"2", found.revision) > filled
    finally:
        await store.close()


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
async def test_a_store_goes_on_when_the_member_that_it_talks_to_does_not(tmp_path: Path, how: signal.Signals) -> None:
    async with members(tmp_path, 3) as three:
        store = await EtcdStore.open([member.endpoint for member in three])
        try:
            first = await store.put("/a", b"1", ABSENT)
            async with store.watch("/", after=first) as batches:
                three[0].process.send_signal(how)
                second = await store.put("/a", b"2", first)
                third = await store.put("/b", b"3", ABSENT)
                seen = await anext(batches)
                assert (seen[0].key, seen[0].revision) == ("/a", second)
            assert await store.current() == third
            assert (await store.get("/b")).value == b"3"  # type: ignore[union-attr]
        finally:
            if three[0].process.returncode is None:
                three[0].process.send_signal(signal.SIGCONT)
            await store.close()


async def test_a_write_whose_leader_dies_is_done_once(tmp_path: Path) -> None:
    async with members(tmp_path, 3) as three:
        async with EtcdMembers([three[0].endpoint], None) as asked:
            leads = [(await asked.health(member.endpoint)).leads for member in three]
        leader = three[leads.index(True)]
        store = await EtcdStore.open([member.endpoint for member in three if member is not leader])
        try:
            writes = [asyncio.create_task(store.put(f"/k/{number}", b"x", ABSENT)) for number in range(50)]
            await writes[0]
            leader.process.kill()
            writes += [asyncio.create_task(store.put(f"/k/{number}", b"x", ABSENT)) for number in range(50, 100)]
            revisions = await asyncio.gather(*writes)
            page = await store.list("/k/")
            assert sorted(record.revision for record in page.records) == sorted(revisions)
            assert all(record.created == record.revision for record in page.records)
        finally:
            await store.close()


class Forgetful(EtcdApi):
    """Loses the answer to a write once, and lets others go before it is asked again."""

    def __init__(self, endpoint: str, meanwhile: Callable[[], Awaitable[object]]) -> None:
        super().__init__([endpoint], None)
        self._meanwhile = meanwhile

    async def txn(self, request: pb.TxnRequest, *, repeat: bool = False) -> tuple[pb.TxnResponse, bool]:
        await super().txn(request)
        await self._meanwhile()
        return (await super().txn(request))[0], True


@pytest.mark.parametrize("expect_there", [True, False])
async def test_a_write_that_was_done_and_then_overwritten_is_no_conflict(endpoint: str, expect_there: bool) -> None:
    other = await EtcdStore.open([endpoint])

    async def overwrite() -> None:
        found = await other.get("/a")
        assert found is not None
        assert found.value == b"ours"
        await other.put("/a", b"theirs", found.revision)

    first = await other.put("/a", b"0") if expect_there else ABSENT
    store = await EtcdStore.open([endpoint])
    remembering, store._api = store._api, Forgetful(endpoint, overwrite)
    try:
        with pytest.raises(Unavailable, match="may have happened"):
            await store.put("/a", b"ours", first)
    finally:
        await store.close()
        remembering.close()
        await other.close()


async def test_a_full_etcd_is_healed(tmp_path: Path) -> None:
    async with members(tmp_path, 1, "--quota-backend-bytes", "2000000") as (only,):
        store = await EtcdStore.open([only.endpoint])
        asked = EtcdMembers([only.endpoint], None)
        try:
            revision = ABSENT
            refusal = ""
            while not refusal:
                try:
                    revision = await store.put("/a", b"x" * 50_000, revision)
                except Unavailable as error:
                    refusal = error.reason
            assert "takes no writes" in refusal
            assert store.full.is_set()
            await EtcdCare(store, asked, SystemClock()).look()
            assert await asked.alarms() == []
            await store.put("/a", b"y", revision)
        finally:
            asked.close()
            await store.close()
