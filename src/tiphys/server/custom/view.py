"""How a version of a custom resource sees what is stored: converted, pruned and with today's defaults.

A definition changes while objects of its former self stay in the store. A View makes them what they would be if they
were written now; it is asked at every read, so it remembers which entries need nothing (a mark on the entry) and what
came out for those that do (bounded). Definitions under which nothing can be incomplete have no View at all.
Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import orjson

from tiphys.api import structural
from tiphys.api.resource import Json
from tiphys.api.schema import Schema
from tiphys.server.cache import Entry
from tiphys.server.custom.conversion import ConversionFailed, Converter
from tiphys.server.heads import Heads, Readers
from tiphys.store import Record

# Bytes of shown objects that a view keeps.
_KEPT = 8 * 1024 * 1024
_NOTED = 4096


class View:
    """`own` and `stored` are apiVersions; `schemas` are those of every version, served or not."""

    def __init__(
        self, own: str, stored: str, schemas: Mapping[str, Schema], converter: Converter, *, readers: Readers
    ) -> None:
        self.own, self._stored, self.schemas, self.converter = own, stored, schemas, converter
        self._heads = Heads(readers)
        self._shown: OrderedDict[tuple[str, int], Entry] = OrderedDict()
        self._size = 0
        # Revisions that this version wrote itself, whole as they are, until their entries are asked for.
        self._written: OrderedDict[str, int] = OrderedDict()

    @property
    def converts(self) -> bool:
        """Whether the store's version is another."""
        return self.own != self._stored

    def wrote(self, key: str, revision: int) -> None:
        """Note what was written by this very version, and so needs nothing."""
        if not self.converts:
            self._written[key] = revision
            if len(self._written) > _NOTED:
                self._written.popitem(last=False)

    async def show(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """The entries as this version shows them. Raises ConversionFailed."""
        found = [entry if entry.complete is self else self._known(entry) for entry in entries]
        missing = [entry for entry, shown in zip(entries, found, strict=True) if shown is None]
        made = iter(await self._make(missing) if missing else ())
        return [next(made) if shown is None else shown for shown in found]

    def _known(self, entry: Entry) -> Entry | None:
        if self._written.get(entry.key) == entry.revision:
            del self._written[entry.key]
            entry.complete = self
            return entry
        return self._shown.get((entry.key, entry.revision))

    async def one(self, entry: Entry) -> Entry:
        if entry.complete is self:
            return entry
        return (await self.show([entry]))[0]

    async def to_store(self, obj: Json) -> Json:
        """An object of this version as the stored one. Raises ConversionFailed."""
        return await self.convert(obj, self._stored) if self.converts else obj

    async def convert(self, obj: Json, api_version: str) -> Json:
        """An object of any version in another, pruned by that."""
        [made] = await self.converter.convert([obj], api_version)
        if made is not obj:
            structural.prune(self.schemas[api_version], made)
        return made

    async def _make(self, entries: Sequence[Entry]) -> list[Entry]:
        """The entries as shown, in order; what turns out to be complete is marked so."""
        made = list(entries)
        changed: list[tuple[int, Json]] = []
        for at, entry in enumerate(entries):
            obj = self._refreshed(entry)
            if obj is None:
                entry.complete = self
            else:
                changed.append((at, obj))
        converted = await self.converter.convert([obj for _, obj in changed], self.own)
        for (at, before), obj in zip(changed, converted, strict=True):
            if obj is not before:
                structural.prune(self.schemas[self.own], obj)
            entry = entries[at]
            record = Record(entry.key, orjson.dumps(obj), entry.revision, entry.created)
            made[at] = shown = Entry(record, self._heads)
            self._keep(shown)
        return made

    def _refreshed(self, entry: Entry) -> Json | None:
        """The object, pruned and defaulted by its stored version; None where it is right as it is."""
        obj = entry.decode()
        version = obj["apiVersion"]
        schema = self.schemas.get(version)
        if schema is None:
            raise ConversionFailed(f"request to convert CR from an invalid group/version: {version}")
        structural.prune(schema, obj)
        structural.default(schema, obj)
        if version == self.own == self._stored and orjson.dumps(obj) == entry.data:
            return None
        # Webhooks are shown what is stored, and that has no resourceVersion.
        del obj["metadata"]["resourceVersion"]
        return obj

    def _keep(self, shown: Entry) -> None:
        self._shown[shown.key, shown.revision] = shown
        self._size += len(shown.data)
        while self._size > _KEPT and len(self._shown) > 1:
            _, oldest = self._shown.popitem(last=False)
            self._size -= len(oldest.data)
