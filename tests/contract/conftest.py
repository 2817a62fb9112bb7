"""Stores for the contract suite: every test that asks for `store` runs once per driver."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from etcd_process import etcd

from tiphys.store import Record, Store
from tiphys.store.etcd import EtcdStore
from tiphys.store.memory import MemoryStore
from tiphys.store.sqlite import SqliteStore


async def _nothing() -> AsyncIterator[Sequence[Record]]:
    for batch in ():
        yield batch


# Also stores whose revisions begin high above those that the driver would count by itself.
@pytest.fixture(params=["memory", "sqlite", "etcd", "memory filled", "sqlite filled", "etcd filled"])
async def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """Opens a fresh store of the driver under test; keyword arguments go to the driver."""
    async with AsyncExitStack() as stack:

        async def open_(**options: int) -> Store:
            store: Store
            driver, _, filled = request.param.partition(" ")
            if driver == "memory":
                store = MemoryStore(**options)
            elif driver == "etcd":
                endpoint = await stack.enter_async_context(etcd(tmp_path / "etcd"))
                store = await EtcdStore.open([endpoint], **options)
            else:
                store = await SqliteStore.open(tmp_path / "store.db", **options)
            stack.push_async_callback(store.close)
            if filled:
                await store.fill(_nothing(), 1_000_000_000_000)
            return store

        yield open_


@pytest.fixture
async def store(open_store: Any) -> Store:
    opened: Store = await open_store()
    return opened
