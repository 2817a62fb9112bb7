"""Clients of a cluster under faults, as a process of its own: python load.py PLAN writes a history when told to stop.

Writers change, remove and read a few ConfigMaps that they share, at a bounded rate; watchers follow all of them, each
beginning with another server. A plan is JSON of `Plan`; SIGTERM stops the writers, makes one last write and waits until
every watcher has seen it. Times are of the system's monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import orjson
import uvloop
from history import FAIL, OK, UNKNOWN, History, Operation, Seen, Watched

from tiphys.api.errors import AlreadyExists, ApiError, Conflict, Expired, Gone, NotFound
from tiphys.client.client import Client
from tiphys.client.http import Https
from tiphys.client.transport import Query, Unreachable
from tiphys.kinds.core.configmap import CONFIG_MAPS
from tiphys.main.pki import Pki

NAMESPACE = "faults"
_LABEL = "faults"
_WITHIN = 10.0
_CATCH_UP = 40.0
_REFUSED = (Conflict, AlreadyExists, NotFound)
_now = time.monotonic


class Plan(msgspec.Struct):
    """`clients` are the servers' URLs of each writer, `watchers` those of each watcher; `rate` in operations a second.

    `run` tells the keys of one run from those of others: it is a label of theirs, and their names begin with it.
    """

    pki: str
    clients: list[list[str]]
    watchers: list[list[str]]
    run: str
    keys: int
    rate: float
    seed: int
    result: str


class Register:
    """One client's view of the registers, recording all that it does. The value of a key is a ConfigMap's `v`."""

    def __init__(self, name: str, urls: Sequence[str], plan: Plan, history: History) -> None:
        self.name, self._history = name, history
        self._labels, self._ours = {_LABEL: plan.run}, {"labelSelector": f"{_LABEL}={plan.run}"}
        self._last = f"{plan.run}-last"
        tls = Pki(Path(plan.pki)).client_tls("admin")
        self._client = Client(Https(urls, tls, agent=name), manager=name)
        self._maps = self._client.of(CONFIG_MAPS)
        self._count = 0

    async def close(self) -> None:
        await self._client.close()

    def _record(self, kind: str, begun: float, outcome: str, **what: object) -> None:
        self._history.operations.append(Operation(self.name, kind, begun, _now(), outcome, **what))  # type: ignore[arg-type]

    async def get(self, key: str) -> tuple[bool, int]:
        """Whether it was answered, and the revision of what is there, or 0."""
        begun = _now()
        try:
            found = orjson.loads(await self._send("GET", key))
        except NotFound:
            self._record("get", begun, OK, key=key)
            return True, 0
        except (ApiError, Unreachable) as error:
            self._record("get", begun, UNKNOWN, key=key, error=str(error))
            return False, 0
        revision = int(found["metadata"]["resourceVersion"])
        self._record("get", begun, OK, key=key, value=found["data"]["v"], revision=revision)
        return True, revision

    async def list_(self) -> int:
        begun = _now()
        try:
            found = orjson.loads(await self._send("GET", "", query=self._ours))
        except (ApiError, Unreachable) as error:
            self._record("list", begun, UNKNOWN, error=str(error))
            return 0
        revision = int(found["metadata"]["resourceVersion"])
        self._record("list", begun, OK, revision=revision, found=dict(map(_state, found["items"])))
        return revision

    async def write(self, key: str, expect: int) -> int:
        """Make the key, or change it if it still is at a revision: the new revision, or 0 if that is not known."""
        self._count += 1
        value, kind, begun = f"{self.name}.{self._count}", "update" if expect else "create", _now()
        meta = {"name": key, "namespace": NAMESPACE, "labels": self._labels}
        if expect:
            meta["resourceVersion"] = str(expect)
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"v": value}}
        method, place = ("PUT", key) if expect else ("POST", "")
        revision = 0

        async def attempt() -> None:
            nonlocal revision
            done = orjson.loads(await self._send(method, place, body))
            revision = int(done["metadata"]["resourceVersion"])

        outcome, error = await _outcome(attempt)
        self._record(
            kind, begun, outcome, key=key, value=value, expect=expect, revision=revision, error=error
        )  # fmt: skip
        return revision

    async def remove(self, key: str, expect: int) -> None:
        begun = _now()
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"resourceVersion": str(expect)}}

        async def attempt() -> None:
            await self._send("DELETE", key, body)

        outcome, error = await _outcome(attempt)
        self._record("delete", begun, outcome, key=key, expect=expect, error=error)

    async def _send(self, method: str, key: str, body: object = None, query: Query | None = None) -> bytes:
        path = CONFIG_MAPS.path(key, NAMESPACE)
        data = orjson.dumps(body) if body is not None else b""
        return await self._client.transport.send(method, path, body=data, query=query, within=_WITHIN)

    async def work(self, rng: random.Random, keys: Sequence[str], pause: float, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await asyncio.sleep(pause * rng.uniform(0.5, 1.5))
            key, choice = rng.choice(keys), rng.random()
            if choice < 0.06:
                await self.list_()
                continue
            answered, revision = await self.get(key)
            if not answered or choice < 0.2:
                continue
            if revision and choice < 0.35:
                await self.remove(key, revision)
            else:
                await self.write(key, revision)

    async def finish(self) -> int:
        """One last write that succeeds, by a key that nobody else has."""
        while True:
            answered, revision = await self.get(self._last)
            if answered and (written := await self.write(self._last, revision)):
                await self.list_()
                return written
            await asyncio.sleep(0.2)

    async def watch(self) -> None:
        """List, then watch for ever; go on behind what was seen where a connection broke."""
        after = 0
        while True:
            if not after:
                after = await self.list_()
                if after:
                    self._history.watched.append(watched := Watched(self.name, after))
            try:
                if after:
                    async with self._maps.watch(NAMESPACE, resourceVersion=str(after), **self._ours) as events:
                        async for kind, data in events:
                            after = self._see(watched, kind, data)
            except (Expired, Gone):
                after = 0
                continue
            except (ApiError, Unreachable):
                pass
            await asyncio.sleep(0.1)

    @staticmethod
    def _see(watched: Watched, kind: str, data: bytes) -> int:
        obj = orjson.loads(data)
        revision = int(obj["metadata"]["resourceVersion"])
        if kind != "BOOKMARK":
            value = None if kind == "DELETED" else obj["data"]["v"]
            watched.events.append(Seen(_now(), obj["metadata"]["name"], revision, value))
        return revision

    async def poll(self) -> None:
        """Ask now and then, as a client with more than a watch does: so it learns that a server hangs."""
        while True:
            await self.get(self._last)
            await asyncio.sleep(1.0)


async def _outcome(attempt: Callable[[], Awaitable[None]]) -> tuple[str, str]:
    try:
        await attempt()
    except _REFUSED as error:
        return FAIL, str(error)
    except (ApiError, Unreachable) as error:
        return UNKNOWN, str(error)
    return OK, ""


def _state(item: dict) -> tuple[str, tuple[str, int]]:  # type: ignore[type-arg]
    meta = item["metadata"]
    return meta["name"], (item["data"]["v"], int(meta["resourceVersion"]))


async def _caught_up(history: History, names: Sequence[str]) -> None:
    """Wait for the watchers; who does not come up to the last write is missing from `finished`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_CATCH_UP):
            while len(history.finished) < len(names):
                latest = {watched.watcher: watched.until for watched in history.watched}
                history.finished = {name for name in names if latest[name] >= history.last}
                await asyncio.sleep(0.1)


async def run(plan: Plan) -> None:
    history, stop = History(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    watchers = [Register(f"w{n}", urls, plan, history) for n, urls in enumerate(plan.watchers)]
    writers = [Register(f"c{n}", urls, plan, history) for n, urls in enumerate(plan.clients)]
    async with asyncio.TaskGroup() as group:
        following = [group.create_task(task) for watcher in watchers for task in (watcher.watch(), watcher.poll())]
        while len(history.watched) < len(watchers):
            await asyncio.sleep(0.05)
        print("ready", flush=True)
        await _work(plan, writers, stop)
        history.last = await writers[0].finish()
        await _caught_up(history, [watcher.name for watcher in watchers])
        for task in following:
            task.cancel()
    for register in (*watchers, *writers):
        await register.close()
    await asyncio.to_thread(Path(plan.result).write_bytes, msgspec.json.encode(history))


async def _work(plan: Plan, writers: Sequence[Register], stop: asyncio.Event) -> None:
    keys = [f"{plan.run}-{n}" for n in range(plan.keys)]
    async with asyncio.TaskGroup() as group:
        for number, writer in enumerate(writers):
            group.create_task(writer.work(random.Random(plan.seed + number), keys, 1 / plan.rate, stop))


if __name__ == "__main__":
    uvloop.run(run(msgspec.json.decode(sys.argv[1], type=Plan)))
