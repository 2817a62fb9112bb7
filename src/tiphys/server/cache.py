"""The watch cache: every object as bytes, every recent change, and who waits for which.

One feed from the store keeps it; reads are dictionary look-ups and a list is a join of bytes. An object is encoded once
per write: `resourceVersion` is spliced into the stored bytes and the result is shared by all readers and watchers.
Watchers are indexed by namespace, by name and by one exact field, so that 5,000 kubelets watching `spec.nodeName`
cost a look-up each, not 5,000 comparisons.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence, ValuesView
from dataclasses import dataclass, field

import orjson

from tiphys.api.resource import Json
from tiphys.server.heads import Heads, Readers
from tiphys.server.newest import Newest
from tiphys.store import Compacted, Event, Record, Revision, Store

_METADATA = b'"metadata":{'
_ROOT = "/registry/"
# Changes that are kept for watches that begin in the past, and the bytes of their objects.
_HISTORY, _HISTORY_BYTES = 1024, 8 * 1024 * 1024


def splice(value: bytes, revision: Revision) -> bytes:
    """Stored bytes with their resourceVersion; `metadata` is the first object in them and never empty."""
    at = value.index(_METADATA) + len(_METADATA)
    return b'%b"resourceVersion":"%d",%b' % (value[:at], revision, value[at:])


def unspliced(entry: Entry) -> Record:
    """The stored record that an entry was made of."""
    value = entry.data.replace(b'"resourceVersion":"%d",' % entry.revision, b"", 1)
    return Record(entry.key, value, entry.revision, entry.created)


class Entry:
    """One object at one revision. `data` is what clients get, of the stored version."""

    __slots__ = (
        "_forms", "_heads", "_values", "complete", "created", "data", "key", "labels", "name", "namespace", "revision"
    )  # fmt: skip

    def __init__(self, record: Record, heads: Heads) -> None:
        self.key, self.revision, self.created = record.key, record.revision, record.created
        self.data = splice(record.value, record.revision)
        head = heads.read(record.value)
        self.name, self.namespace, self.labels = head.name, head.namespace, head.labels
        self._heads, self._values = heads, head.values
        self._forms: dict[str, bytes] | None = None
        # The `server.custom.View` that has nothing to change about this entry.
        self.complete: object = None

    def read(self, heads: Heads) -> None:
        """Take over that other fields are selectable."""
        self._heads, self._values = heads, heads.read(self.data).values

    def field(self, name: str) -> str:
        if name == "metadata.name":
            return self.name
        if name == "metadata.namespace":
            return self.namespace
        place = self._heads.names.get(name)
        return "" if place is None else self._values[place]

    def decode(self) -> Json:
        obj: Json = orjson.loads(self.data)
        return obj

    def form(self, name: str, make: Callable[[Entry], bytes]) -> bytes:
        """Another form of the same object (a version, a table row, a watch line), made once and shared."""
        if self._forms is None:
            self._forms = {}
        made = self._forms.get(name)
        if made is None:
            made = self._forms[name] = make(self)
        return made


@dataclass(frozen=True, slots=True)
class Change:
    """`new is None`: removed; then `old` carries the revision of its removal in `revision` and `gone`."""

    revision: Revision
    old: Entry | None
    new: Entry | None
    # The removed object as watchers get it: its last state under the revision of the removal.
    gone: Entry | None = None

    @property
    def weight(self) -> int:
        """Bytes that are kept for its sake: the old state, as a rule, is the new one of the change before."""
        entry = self.new or self.gone
        return len(entry.data) if entry is not None else 0


class Overflow(Exception):
    """The watcher fell too far behind; it must list again."""


class Finished(Exception):
    """The server ends its watches because it stops."""


@dataclass(eq=False, slots=True)
class Watcher:
    """What one watch wants, and what waits for it. `matches` tells whether an entry is selected."""

    matches: Callable[[Entry], bool]
    namespace: str = ""
    name: str = ""
    # One `field=value` that narrows the watch, for the index.
    exact: tuple[str, str] | None = None
    limit: int = 10_000
    pending: deque[tuple[str, Entry]] = field(default_factory=deque)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    lost: bool = False
    finished: bool = False
    poked: bool = False

    def offer(self, change: Change) -> None:
        """Turn a change into this watcher's event: what enters its selection is added, what leaves it is deleted."""
        before = change.old is not None and self.matches(change.old)
        after = change.new is not None and self.matches(change.new)
        if after and change.new is not None:
            self.push("MODIFIED" if before else "ADDED", change.new)
        elif before and change.old is not None:
            self.push("DELETED", change.gone or change.old)

    def push(self, kind: str, entry: Entry) -> None:
        if len(self.pending) >= self.limit:
            self.lost = True
            self.pending.clear()
        if not self.lost:
            self.pending.append((kind, entry))
        self.woken.set()

    def finish(self) -> None:
        self.finished = True
        self.woken.set()

    def poke(self) -> None:
        """Let `next` return although nothing may have happened."""
        self.poked = True
        self.woken.set()

    async def next(self) -> Sequence[tuple[str, Entry]]:
        """All that is pending, once something is, or nothing when poked. Raises Overflow, Finished."""
        while not self.pending and not self.lost and not self.finished and not self.poked:
            self.woken.clear()
            await self.woken.wait()
        if self.lost:
            raise Overflow
        if not self.pending:
            if self.finished:
                raise Finished
            self.poked = False
            return ()
        events = list(self.pending)
        self.pending.clear()
        return events


class Collection:
    """All objects of one resource."""

    def __init__(self, heads: Heads) -> None:
        self.heads = heads
        self.items: dict[str, Entry] = {}
        self.history: deque[Change] = deque()
        self._history_bytes = 0
        # Changes after this revision are all in `history`.
        self.since: Revision = 0
        # The revision of the last change.
        self.changed: Revision = 0
        self._keys: list[str] = []
        self._watchers: dict[object, list[Watcher]] = {}
        # The fields by which watches are narrowed, and how many of them.
        self._watched: Counter[str] = Counter()
        # By the names of fields that somebody looks up, then by value: the entries that have it.
        self._having: dict[str, dict[str, dict[str, Entry]]] = {}

    def scan(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Entries under the key prefix in key order, after the whole key `after`."""
        keys, items = self._keys, self.items
        start = bisect_left(keys, after + "\0" if after else prefix)
        for index in range(start, len(keys)):
            key = keys[index]
            if not key.startswith(prefix):
                return
            yield items[key]

    def having(self, name: str, value: str) -> ValuesView[Entry]:
        """The entries with that value of a selectable field, by an index that is kept from the first question on."""
        index = self._having.get(name)
        if index is None:
            index = self._having[name] = {}
            for entry in self.items.values():
                index.setdefault(entry.field(name), {})[entry.key] = entry
        return index.get(value, {}).values()

    def _index(self, old: Entry | None, new: Entry | None) -> None:
        for name, index in self._having.items():
            if old is not None:
                value = old.field(name)
                del index[value][old.key]
                if not index[value]:
                    del index[value]
            if new is not None:
                index.setdefault(new.field(name), {})[new.key] = new

    def add(self, watcher: Watcher) -> None:
        self._watchers.setdefault(self._slot(watcher), []).append(watcher)
        if watcher.exact is not None:
            self._watched[watcher.exact[0]] += 1

    def remove(self, watcher: Watcher) -> None:
        slot = self._slot(watcher)
        watchers = self._watchers.get(slot, [])
        if watcher not in watchers:
            return
        watchers.remove(watcher)
        if not watchers:
            del self._watchers[slot]
        if watcher.exact is not None:
            self._watched -= Counter([watcher.exact[0]])

    def reread(self, heads: Heads) -> None:
        self.heads = heads
        self._having.clear()
        for entry in self.items.values():
            entry.read(heads)
        for watchers in list(self._watchers.values()):
            for watcher in watchers:
                watcher.finish()

    @property
    def watcher_count(self) -> int:
        return sum(map(len, self._watchers.values()))

    def put(self, record: Record) -> Change:
        old = self.items.get(record.key)
        new = Entry(record, self.heads)
        self.items[record.key] = new
        if self._having:
            self._index(old, new)
        self.changed = max(self.changed, record.revision)
        if old is None:
            insort(self._keys, record.key)
        return Change(record.revision, old, new)

    def drop(self, key: str, revision: Revision, previous: Record | None) -> Change | None:
        old = self.items.pop(key, None)
        if old is not None and self._having:
            self._index(old, None)
        if old is None or previous is None:
            return None
        del self._keys[bisect_left(self._keys, key)]
        self.changed = revision
        gone = Entry(Record(key, previous.value, revision, previous.created), self.heads)
        return Change(revision, old, None, gone)

    def publish(self, change: Change) -> None:
        self.history.append(change)
        self._history_bytes += change.weight
        while len(self.history) > _HISTORY or self._history_bytes > _HISTORY_BYTES:
            oldest = self.history.popleft()
            self.since = oldest.revision
            self._history_bytes -= oldest.weight
        for slot in self._slots(change) if self._watchers else ():
            for watcher in self._watchers.get(slot, ()):
                watcher.offer(change)

    @staticmethod
    def _slot(watcher: Watcher) -> object:
        if watcher.exact is not None:
            return watcher.exact
        if watcher.name:
            return ("name", watcher.namespace, watcher.name)
        return ("namespace", watcher.namespace) if watcher.namespace else None

    def _slots(self, change: Change) -> set[object]:
        slots: set[object] = {None}
        for entry in (change.old, change.new):
            if entry is not None:
                slots.add(("name", entry.namespace, entry.name))
                slots.add(("name", "", entry.name))
                slots.add(("namespace", entry.namespace))
                slots.update((name, entry.field(name)) for name in self._watched)
        return slots


class Cache:
    """The collections by store prefix. `load` first, then `run` under a supervisor."""

    def __init__(self, store: Store, readers: Callable[[str], Readers], *, alone: bool = True) -> None:
        """`readers` gives the field readers of the resource under a prefix (`/registry/apps/deployments/`).

        `alone` tells that nobody else writes to the store, so that what it knows of is all there is.
        """
        self.store, self._alone = store, alone
        self._newest = Newest(store.current)
        self.revision: Revision = 0
        self._readers = readers
        self._collections: dict[str, Collection] = {}
        self._waiting: list[tuple[Revision, asyncio.Future[None]]] = []

    def of(self, prefix: str) -> Collection:
        collection = self._collections.get(prefix)
        if collection is None:
            collection = self._collections[prefix] = Collection(Heads(self._readers(prefix)))
            collection.since = self.revision
        return collection

    def collections(self) -> Iterator[tuple[str, Collection]]:
        return iter(self._collections.items())

    def forget(self, prefix: str, readers: Readers) -> None:
        """Read the entries of a resource anew, after its definition changed; its watches end, to begin anew."""
        self.of(prefix).reread(Heads(readers))

    async def load(self) -> None:
        page = await self.store.list(_ROOT)
        for record in page.records:
            self.of(_prefix(record.key)).put(record)
        self.revision = page.revision
        for collection in self._collections.values():
            collection.since = page.revision

    async def run(self) -> None:
        """Follow the store for ever; where its history does not reach back far enough, take up what differs."""
        while True:
            try:
                async with self.store.watch("/", after=self.revision) as batches:
                    async for batch in batches:
                        self._take(batch)
            except Compacted:
                await self._resync()

    async def _resync(self) -> None:
        page = await self.store.list(_ROOT)
        present = {record.key: record for record in page.records}
        for collection in self._collections.values():
            for key, entry in list(collection.items.items()):
                if key not in present:
                    self._publish(collection, collection.drop(key, page.revision, unspliced(entry)))
        for record in page.records:
            collection = self.of(_prefix(record.key))
            known = collection.items.get(record.key)
            if known is None or known.revision != record.revision:
                self._publish(collection, collection.put(record))
        self._reached(page.revision)

    async def fresh(self, revision: Revision = 0) -> None:
        """Return once the cache shows everything committed before the call (or up to `revision`)."""
        wanted = revision or (self.store.revision if self._alone else await self._newest())
        if self.revision < wanted:
            arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((wanted, arrived))
            await arrived

    def _take(self, batch: Sequence[Event]) -> None:
        for event in batch:
            self.revision = event.revision
            if not event.key.startswith(_ROOT):
                continue
            collection = self.of(_prefix(event.key))
            if event.value is None:
                self._publish(collection, collection.drop(event.key, event.revision, event.previous))
            else:
                created = event.previous.created if event.previous else event.revision
                self._publish(collection, collection.put(Record(event.key, event.value, event.revision, created)))
        self._reached(self.revision)

    @staticmethod
    def _publish(collection: Collection, change: Change | None) -> None:
        if change is not None:
            collection.publish(change)

    def _reached(self, revision: Revision) -> None:
        self.revision = revision
        if not self._waiting:
            return
        still = []
        for wanted, arrived in self._waiting:
            if wanted > revision:
                still.append((wanted, arrived))
            elif not arrived.done():
                arrived.set_result(None)
        self._waiting = still


def _prefix(key: str) -> str:
    """`/registry/core/pods/` of `/registry/core/pods/default/web`."""
    return key[: key.index("/", key.index("/", 10) + 1) + 1]
