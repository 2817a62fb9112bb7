"""Stores for the contract suite: every test that asks for `store` runs once per driver."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from etcd_process import etcd

from tiphys.store import Store
from tiphys.store.etcd import EtcdStore
from tiphys.store.memory import MemoryStore
from tiphys.store.sqlite import SqliteStore


@pytest.fixture(params=["memory", "sqlite", "etcd"])
async def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """Opens a fresh store of the driver under test; keyword arguments go to the driver."""
    async with AsyncExitStack() as stack:

        async def open_(**options: int) -> Store:
            store: Store
            if request.param == "memory":
                store = MemoryStore(**options)
            elif request.param == "etcd":
                endpoint = await stack.enter_async_context(etcd(tmp_path / "etcd"))
                store = await EtcdStore.open([endpoint], **options)
            else:
                store = await SqliteStore.open(tmp_path / "store.db", **options)
            stack.push_async_callback(store.close)
            return store

        yield open_


@pytest.fixture
async def store(open_store: Any) -> Store:
    opened: Store = await open_store()
    return opened
