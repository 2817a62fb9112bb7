"""Informers: a local, indexed, always current copy of one resource, fed by list and watch.

The copy holds frozen models, decoded once per write. Handlers are plain functions called in order of revision with
(old, new); `old is None` is an addition, `new is None` a removal. A lost watch is resumed from the last revision seen;
when that is compacted, the list is taken again and only the differences reach the handlers.

With a checkpoint, an informer whose server does not answer at the start shows what its predecessor knew last, until the
first list corrects it. `revision` is 0 and `current` false until then.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar, cast
from urllib.parse import quote

import msgspec

from tiphys.api.errors import ApiError, Expired, Gone
from tiphys.api.meta import Key, Object, ObjectMeta
from tiphys.api.resource import ResourceType
from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock, SystemClock
from tiphys.base.log import Log
from tiphys.client.checkpoint import Checkpoint
from tiphys.client.client import Client, decoder_of
from tiphys.client.transport import Unreachable

T = TypeVar("T", bound=msgspec.Struct)
_log = Log("informer")
_BACKOFF = Backoff(0.05, 10.0)
# A server that hangs is as good as none: so long is it waited for before what was known last has to do, seconds.
_PATIENCE = 3.0
# Of a file, with room for what its successor is called while it is written.
_LONGEST_NAME = 200
_bookmarks = msgspec.json.Decoder(Object)

Handler = Callable[[T | None, T | None], None]
Index = Callable[[T], Iterable[str]]


def meta_of(obj: msgspec.Struct) -> ObjectMeta:
    """Every model has `metadata`; models are declared by kinds, which this floor does not know."""
    return cast(Any, obj).metadata  # type: ignore[no-any-return]


class Informer(Generic[T]):
    """Run with `run()` under a supervisor; read with `get`, `items`, `by`; `synced` is set after the first list."""

    def __init__(
        self,
        client: Client,
        resource: ResourceType[T],
        *,
        namespace: str = "",
        clock: Clock | None = None,
        checkpoint: Checkpoint | None = None,
        **query: str,
    ) -> None:
        self.resource = resource
        self._checkpoint = checkpoint
        self._part = _part(resource.plural, namespace, query)
        self._client = client.of(resource)
        self._namespace, self._query = namespace, query
        self._clock = clock or SystemClock()
        self._items: dict[Key, T] = {}
        self._handlers: list[Handler[T]] = []
        self._indexes: dict[str, tuple[Index[T], dict[str, dict[Key, T]]]] = {}
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._decode = decoder_of(resource.model).decode
        self.revision = 0
        self.synced = asyncio.Event()

    @property
    def current(self) -> bool:
        """Whether the server itself has told what there is: until then something may be missing."""
        return self.revision > 0

    def get(self, key: Key | str) -> T | None:
        return self._items.get(cast(Key, key))

    def items(self) -> Iterator[T]:
        return iter(list(self._items.values()))

    def __len__(self) -> int:
        return len(self._items)

    def by(self, index: str, value: str) -> list[T]:
        """Objects whose `index` function yields `value`."""
        return list(self._indexes[index][1].get(value, {}).values())

    def add_index(self, name: str, index: Index[T]) -> None:
        """Index by the strings that `index` yields; who shares the informer may add the same index again."""
        if name in self._indexes:
            return
        table: dict[str, dict[Key, T]] = {}
        self._indexes[name] = (index, table)
        for key, obj in self._items.items():
            for value in index(obj):
                table.setdefault(value, {})[key] = obj

    def add_handler(self, handler: Handler[T]) -> None:
        """Call `handler` for every change from now on, and at once for what is already here."""
        self._handlers.append(handler)
        for obj in self.items():
            handler(None, obj)

    async def wait_for(self, revision: int) -> None:
        """Return once everything up to `revision` has been seen."""
        if self.revision >= revision:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((revision, future))
        await future

    def forget(self) -> None:
        """Nobody will want to know of these objects again."""
        if self._checkpoint is not None:
            self._checkpoint.drop(self._part)

    async def run(self) -> None:
        if self._checkpoint is None or self.synced.is_set():
            await self._run()
            return
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(self._lose_patience())
            try:
                await self._run()
            finally:
                waiting.cancel()

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                if not self.revision:
                    await self._list()
                await self._watch()
                failures = 0
            except (Expired, Gone):
                self.revision = 0
            except (ApiError, Unreachable) as error:
                _log.warning("list or watch failed", resource=self.resource.group_resource, error=str(error))
                await self._remember()
                await self._clock.sleep(_BACKOFF.delay(failures))
                failures += 1

    async def _lose_patience(self) -> None:
        await self._clock.sleep(_PATIENCE)
        await self._remember()

    async def _remember(self) -> None:
        """Make do with what was known last, if nothing is known yet."""
        if self._checkpoint is None or self.synced.is_set():
            return
        data = await self._checkpoint.load(self._part)
        if not data or self.synced.is_set():
            return
        try:
            objects = msgspec.json.decode(data, type=list[self.resource.model])  # type: ignore[name-defined]
        except msgspec.DecodeError as error:
            _log.warning("what was known last cannot be read", resource=self._part, error=str(error))
            return
        _log.warning("no API server answers: going on with what was known last", resource=self._part)
        for obj in objects:
            self._change(meta_of(obj).key, obj)
        self.synced.set()

    async def _list(self) -> None:
        objects, version = await self._client.list(self._namespace, **self._query)
        fresh = {meta_of(obj).key: obj for obj in objects}
        for key in [key for key in self._items if key not in fresh]:
            self._change(key, None)
        for key, obj in fresh.items():
            old = self._items.get(key)
            if old is None or meta_of(old).resource_version != meta_of(obj).resource_version:
                self._change(key, obj)
        self._advance(int(version))
        self.synced.set()
        self._keep()

    async def _watch(self) -> None:
        query = {**self._query, "resourceVersion": str(self.revision), "allowWatchBookmarks": "true"}
        async with self._client.watch(self._namespace, **query) as events:
            async for kind, data in events:
                if kind == "BOOKMARK":
                    self._advance(_bookmarks.decode(data).metadata.revision)
                    continue
                obj = self._decode(data)
                meta = meta_of(obj)
                self._change(meta.key, None if kind == "DELETED" else obj)
                self._advance(meta.revision)

    def _change(self, key: Key, new: T | None) -> None:
        old = self._items.get(key)
        if new is None:
            self._items.pop(key, None)
        else:
            self._items[key] = new
        if old is None and new is None:
            return
        for index, table in self._indexes.values():
            for value in index(old) if old is not None else ():
                bucket = table.get(value)
                if bucket is not None:
                    bucket.pop(key, None)
                    if not bucket:
                        del table[value]
            for value in index(new) if new is not None else ():
                table.setdefault(value, {})[key] = new  # type: ignore[assignment]
        for handler in self._handlers:
            handler(old, new)
        if self.current:
            self._keep()

    def _keep(self) -> None:
        if self._checkpoint is not None:
            self._checkpoint.changed(self._part, lambda: msgspec.json.encode(list(self._items.values())))

    def _advance(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        if self._waiters:
            ready = [future for at, future in self._waiters if at <= self.revision]
            self._waiters = [(at, future) for at, future in self._waiters if at > self.revision]
            for future in ready:
                if not future.done():
                    future.set_result(None)


def _part(plural: str, namespace: str, query: Mapping[str, str]) -> str:
    """The name of an informer's part of a checkpoint; safe as a file's."""
    words = [plural, namespace, *(f"{name}={value}" for name, value in sorted(query.items()))]
    name = quote("_".join(word for word in words if word), safe="=")
    return name if len(name) <= _LONGEST_NAME else hashlib.sha256(name.encode()).hexdigest()


class Informers:
    """The informers that the components of one process share: one for each resource."""

    def __init__(
        self, client: Client, clock: Clock | None = None, checkpoint: Checkpoint | None = None
    ) -> None:  # fmt: skip
        self.client, self._clock, self._checkpoint = client, clock, checkpoint
        self._informers: dict[tuple[str, str, str], Informer[Any]] = {}

    def of(self, resource: ResourceType[T], **query: str) -> Informer[T]:
        """The shared informer of `resource`, or of the part that `query` selects; ask for it before `run`."""
        key = (resource.group, resource.plural, repr(sorted(query.items())) if query else "")
        if key not in self._informers:
            self._informers[key] = Informer(
                self.client, resource, clock=self._clock, checkpoint=self._checkpoint, **query
            )
        return cast(Informer[T], self._informers[key])

    def get(self, group: str, plural: str) -> Informer[Any] | None:
        """The informer of a whole resource, if anybody asked for it."""
        return self._informers.get((group, plural, ""))

    def __iter__(self) -> Iterator[Informer[Any]]:
        return iter(self._informers.values())

    async def synced(self) -> None:
        for informer in self:
            await informer.synced.wait()
