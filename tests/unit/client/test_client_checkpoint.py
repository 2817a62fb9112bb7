"""What informers know while no server answers: what the process before this one knew last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from tiphys.api.meta import Object
from tiphys.api.resource import Json, resource
from tiphys.base.clock import VirtualClock, settle
from tiphys.client.checkpoint import Checkpoint
from tiphys.client.client import Client
from tiphys.client.informer import Informer
from tiphys.client.transport import Unreachable

THINGS = resource(group="", version="v1", kind="Thing", plural="things")


class Server:
    """Answers lists, refuses or hangs, as `state` says; its watches are silent."""

    def __init__(self, *names: str, state: str = "up") -> None:
        self.names, self.state = list(names), state

    async def send(self, method: str, path: str, **_: Any) -> bytes:
        if self.state == "hangs":
            await asyncio.Event().wait()
        if self.state == "away":
            raise Unreachable("no server answered")
        items: list[Json] = [{"metadata": {"name": name, "resourceVersion": "5"}} for name in self.names]
        return orjson.dumps({"metadata": {"resourceVersion": "7"}, "items": items})

    @asynccontextmanager
    async def stream(self, path: str, **_: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        async def silent() -> AsyncIterator[bytes]:
            await asyncio.Event().wait()
            yield b""

        yield silent()

    async def close(self) -> None: ...


class Process:
    """An informer with a checkpoint in a directory."""

    def __init__(self, server: Server, directory: Path, **query: str) -> None:
        self.clock = VirtualClock()
        self.checkpoint = Checkpoint(directory, self.clock)
        self.informer: Informer[Object] = Informer(
            Client(server, manager="test"), THINGS, clock=self.clock, checkpoint=self.checkpoint, **query
        )
        self.seen: list[tuple[str, str]] = []
        self.informer.add_handler(self._note)

    def _note(self, old: Object | None, new: Object | None) -> None:
        found = new or old
        assert found is not None
        self.seen.append(("gone" if new is None else "here", found.metadata.name))

    async def __aenter__(self) -> Process:
        self._tasks = [asyncio.create_task(self.informer.run()), asyncio.create_task(self.checkpoint.run())]
        await settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    def names(self) -> set[str]:
        return {obj.metadata.name for obj in self.informer.items()}


async def synced(process: Process) -> None:
    async with asyncio.timeout(5):
        await process.informer.synced.wait()


async def test_what_was_known_last_does_until_the_server_is_back(tmp_path: Path) -> None:
    async with Process(Server("a", "b"), tmp_path) as first:
        await synced(first)
        assert first.informer.current
    server = Server("b", "c", state="away")
    async with Process(server, tmp_path) as second:
        await synced(second)
        assert second.names() == {"a", "b"}
        assert not second.informer.current
        server.state = "up"
        current = asyncio.create_task(second.informer.wait_for(1))
        while not current.done():
            await second.clock.advance(10)
            await settle()
        assert second.names() == {"b", "c"}
        assert second.seen == [("here", "a"), ("here", "b"), ("gone", "a"), ("here", "c")]


async def test_a_server_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    async with Process(Server("a"), tmp_path) as first:
        await synced(first)
    async with Process(Server(state="hangs"), tmp_path) as second:
        assert not second.informer.synced.is_set()
        await second.clock.advance(3)
        await synced(second)
        assert second.names() == {"a"}


async def test_without_a_checkpoint_nothing_is_made_up(tmp_path: Path) -> None:
    async with Process(Server(state="away"), tmp_path) as process:
        await process.clock.advance(5)
        assert not process.informer.synced.is_set()
    (tmp_path / "things").write_bytes(b"[{")
    async with Process(Server(state="away"), tmp_path) as process:
        await process.clock.advance(5)
        assert not process.informer.synced.is_set()


async def test_what_was_known_of_nothing_is_known_too(tmp_path: Path) -> None:
    async with Process(Server(), tmp_path) as first:
        await synced(first)
    async with Process(Server(state="away"), tmp_path) as second:
        await synced(second)
        assert second.names() == set()


async def test_parts_are_private_and_their_names_fit(tmp_path: Path) -> None:
    directory = tmp_path / "kept"
    async with Process(Server("a"), directory, fieldSelector="metadata.name=" + "x" * 253) as process:
        await synced(process)
    (part,) = directory.iterdir()
    assert part.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700


async def test_a_part_that_nobody_needs_is_removed(tmp_path: Path) -> None:
    async with Process(Server("a"), tmp_path) as process:
        await synced(process)
    assert list(tmp_path.iterdir())
    async with Process(Server("a"), tmp_path) as process:
        await synced(process)
        process.informer.forget()
    assert list(tmp_path.iterdir()) == []


async def test_changes_that_come_together_are_one_write(tmp_path: Path) -> None:
    clock, encoded = VirtualClock(), []
    checkpoint = Checkpoint(tmp_path, clock)
    task = asyncio.create_task(checkpoint.run())
    for number in range(5):
        checkpoint.changed("part", lambda number=number: encoded.append(number) or str(number).encode())  # type: ignore[misc, func-returns-value]
        await settle()
    await clock.advance(1)
    async with asyncio.timeout(10):
        while await checkpoint.load("part") != b"4":
            await settle()
    task.cancel()
    await asyncio.wait([task])
    assert encoded == [4]
    assert await checkpoint.load("other") == b""
