"""Informers over a scripted transport: lists, watches, lost histories, indexes; events; the in-process transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from tiphys.api.errors import Expired, NotFound
from tiphys.api.http import Request, Response, User
from tiphys.api.meta import Object, ObjectMeta
from tiphys.api.resource import Json, resource
from tiphys.base.clock import VirtualClock, settle
from tiphys.client.client import Client
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informer
from tiphys.client.inprocess import InProcess
from tiphys.client.transport import Query

THINGS = resource(group="", version="v1", kind="Thing", plural="things")


def thing(name: str, revision: int, **labels: str) -> Json:
    return {"metadata": {"name": name, "namespace": "ns", "resourceVersion": str(revision), "labels": labels}}


class Script:
    """A server of which the test says what it lists and what its watch tells."""

    def __init__(self) -> None:
        self.listed: list[Json] = []
        self.revision = 1
        self.lines: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.watched_from: list[str] = []
        self.sent: list[Json] = []

    async def send(self, method: str, path: str, *, body: bytes = b"", **_: Any) -> bytes:
        if method == "POST":
            self.sent.append(orjson.loads(body))
            return orjson.dumps(thing("event", 1))
        return orjson.dumps({"metadata": {"resourceVersion": str(self.revision)}, "items": self.listed})

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Query | None = None, accept: str = ""
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        self.watched_from.append((query or {})["resourceVersion"])
        yield self._tell()

    async def _tell(self) -> AsyncIterator[bytes]:
        while True:
            line = await self.lines.get()
            if isinstance(line, Exception):
                raise line
            yield line

    def tell(self, kind: str, obj: Json) -> None:
        self.lines.put_nowait(orjson.dumps({"type": kind, "object": obj}))

    async def close(self) -> None: ...


@pytest.fixture
def server() -> Script:
    return Script()


@pytest.fixture
async def start(server: Script) -> AsyncIterator[Callable[[], Informer[Object]]]:
    tasks: list[asyncio.Task[None]] = []

    def start() -> Informer[Object]:
        informer = Informer(Client(server, manager="test"), THINGS, clock=VirtualClock())
        tasks.append(asyncio.create_task(informer.run()))
        return informer

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_lists_then_follows(server: Script, start: Any) -> None:
    server.listed, server.revision = [thing("a", 3)], 5
    informer = start()
    changes: list[tuple[bool, bool]] = []
    informer.add_handler(lambda old, new: changes.append((old is not None, new is not None)))
    await asyncio.wait_for(informer.synced.wait(), 5)
    server.tell("ADDED", thing("b", 6))
    server.tell("MODIFIED", thing("a", 7))
    server.tell("DELETED", thing("b", 8))
    server.tell("BOOKMARK", thing("", 20))
    await asyncio.wait_for(informer.wait_for(20), 5)
    assert [obj.metadata.name for obj in informer.items()] == ["a"]
    assert changes == [(False, True), (False, True), (True, True), (True, False)]
    assert server.watched_from == ["5"]


async def test_a_lost_history_is_listed_anew_and_only_differences_are_told(server: Script, start: Any) -> None:
    server.listed, server.revision = [thing("a", 3), thing("b", 4)], 5
    informer = start()
    await asyncio.wait_for(informer.synced.wait(), 5)
    names: list[str] = []
    informer.add_handler(lambda old, new: names.append((new or old).metadata.name))
    names.clear()
    server.listed, server.revision = [thing("a", 3), thing("c", 9)], 9
    server.lines.put_nowait(Expired("too old"))
    await asyncio.wait_for(informer.wait_for(9), 5)
    assert names == ["b", "c"]
    await settle()
    assert server.watched_from == ["5", "9"]


async def test_indexes_follow_changes(server: Script, start: Any) -> None:
    server.listed, server.revision = [thing("a", 3, app="web")], 5
    informer = start()
    informer.add_index("app", lambda obj: obj.metadata.labels.values())
    await asyncio.wait_for(informer.synced.wait(), 5)
    assert [obj.metadata.name for obj in informer.by("app", "web")] == ["a"]
    server.tell("MODIFIED", thing("a", 6, app="db"))
    await asyncio.wait_for(informer.wait_for(6), 5)
    assert informer.by("app", "web") == []
    assert [obj.metadata.name for obj in informer.by("app", "db")] == ["a"]


async def test_in_process_errors_are_the_servers() -> None:
    async def handle(request: Request) -> Response:
        assert request.user == User("system:me")
        error = NotFound('things "a" not found')
        return Response(error.code, orjson.dumps(error.status()))

    client = Client(InProcess(handle, User("system:me"), "me"), manager="me")
    with pytest.raises(NotFound, match='things "a" not found'):
        await client.of(THINGS).get("a", "ns")


async def test_in_process_asks_for_metadata_only() -> None:
    async def handle(request: Request) -> Response:
        assert "as=PartialObjectMetadata;" in request.headers["accept"]
        return Response(200, orjson.dumps(thing("a", 1)))

    client = Client(InProcess(handle, User("system:me"), "me"), manager="me")
    assert (await client.metadata_of(THINGS).get("a", "ns")).metadata.name == "a"


async def test_one_object_is_not_told_of_without_end(server: Script) -> None:
    clock = VirtualClock()
    recorder = EventRecorder(Client(server, manager="test"), "test", clock)
    task = asyncio.create_task(recorder.run())
    about = {"kind": "Thing", "name": "a", "namespace": "ns", "uid": "1"}
    for number in range(100):
        recorder.record(about, "Made", f"made {number}")
    recorder.record({**about, "name": "b", "uid": "2"}, "Made", "made")
    await settle(400)
    task.cancel()
    assert len(server.sent) == 26
    assert len({event["metadata"]["name"] for event in server.sent}) == 26
    assert ObjectMeta(name="b").name in {event["involvedObject"]["name"] for event in server.sent}
