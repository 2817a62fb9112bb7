"""get, list and watch: resourceVersion semantics, chunks, selectors, bookmarks.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from tiphys import store
from tiphys.api import errors
from tiphys.api.http import Response
from tiphys.api.resource import Json
from tiphys.api.selectors import FieldSelector, LabelSelector, parse_fields, parse_labels
from tiphys.base.clock import Clock
from tiphys.server import output
from tiphys.server.cache import Cache, Collection, Entry
from tiphys.server.call import Call
from tiphys.server.watches import Watches, start_watch

_NODE = "spec.nodeName"
# How long a read may wait for a revision that the cache has not reached, seconds (upstream's figure).
_CATCH_UP = 3.0


@dataclass(slots=True)
class Selection:
    """Which objects of a collection are meant."""

    prefix: str
    labels: LabelSelector | None
    fields: FieldSelector | None

    @property
    def is_plain(self) -> bool:
        return self.labels is None and self.fields is None

    def matches(self, entry: Entry) -> bool:
        if not entry.key.startswith(self.prefix):
            return False
        if self.labels is not None and not self.labels.matches(entry.labels):
            return False
        return self.fields is None or self.fields.matches(entry.field)


def selection_of(call: Call) -> Selection:
    """The selectors of a request. Raises BadRequest for one that cannot be parsed or a field that is not selectable."""
    hub, target = call.hub, call.target
    labels = call.request.param("labelSelector")
    fields = call.request.param("fieldSelector")
    try:
        selector = parse_fields(fields) if fields else None
        labelled = parse_labels(labels) if labels else None
    except ValueError as error:
        raise errors.BadRequest(str(error)) from None
    if selector is not None:
        for name, _, _ in selector.requirements:
            if name not in ("metadata.name", "metadata.namespace") and name not in hub.selectable_fields:
                raise errors.BadRequest(f'field label not supported: "{name}"')
    prefix = hub.prefix
    if hub.namespaced and target.namespace:
        prefix += f"{target.namespace}/"
    return Selection(prefix, labelled, selector)


class Reads:
    def __init__(self, cache: Cache, clock: Clock, watches: Watches) -> None:
        self._cache, self._clock, self._watches = cache, clock, watches

    def collection(self, call: Call) -> Collection:
        return self._cache.of(call.hub.prefix)

    async def entry(self, call: Call) -> Entry:
        """The object as it stands now, as the request's version shows it. Raises NotFound."""
        found = await self.stored(call)
        view = call.resource.view
        return found if view is None else await view.one(found)

    async def shown(self, call: Call, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Stored entries as the request's version shows them."""
        view = call.resource.view
        return entries if view is None else await view.show(entries)

    async def stored(self, call: Call) -> Entry:
        """The object as it is in the store. Raises NotFound."""
        await self._cache.fresh()
        found = self.collection(call).items.get(call.hub.key(call.target.name, call.target.namespace))
        if found is None:
            raise errors.no_such(call.resource.group, call.resource.plural, call.target.name)
        return found

    async def get(self, call: Call) -> Response:
        await self._reach(call.revision())
        entry = await self.entry(call)
        return Response(200, output.object_body(call.resource, entry, call.form, self._clock.time()))

    async def list_(self, call: Call) -> Response:
        chosen = selection_of(call)
        limit = _limit(call)
        entries, meta = await self._page(call, chosen, limit)
        return Response(200, await output.list_body(call.resource, entries, meta, call.form, self._clock.time()))

    async def watch(self, call: Call) -> Response:
        chosen = selection_of(call)
        await self._reach(call.revision())
        stream = await start_watch(self._watches, call, chosen, call.form)
        return Response(200, stream=stream)

    async def _reach(self, revision: int | None) -> None:
        """Wait until the cache has the revision that the client knows of; 0 is happy with anything."""
        if revision == 0:
            return
        if revision is None or revision <= self._cache.store.revision:
            await self._cache.fresh(revision or 0)
            return
        try:
            async with asyncio.timeout(_CATCH_UP):
                await self._cache.fresh(revision)
        except TimeoutError:
            raise errors.Timeout(
                f"Too large resource version: {revision}, current: {self._cache.revision}",
                details={
                    "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                    "retryAfterSeconds": 1,
                },
            ) from None

    async def _page(self, call: Call, chosen: Selection, limit: int) -> tuple[Sequence[Entry], Json]:
        token = call.request.param("continue")
        match = call.request.param("resourceVersionMatch")
        revision = call.revision()
        _check_match(match, revision, token)
        if token:
            revision, after = _parse_continue(token, chosen.prefix)
            return await self._at(call, chosen, limit, revision, after)
        if match == "Exact" and revision and revision != self._cache.revision:
            return await self._at(call, chosen, limit, revision, "")
        await self._reach(revision)
        entries = _candidates(self.collection(call), chosen)
        return await self._take(call, entries, (chosen, limit, self._cache.revision))

    async def _take(
        self, call: Call, entries: Iterable[Entry], page: tuple[Selection, int, int]
    ) -> tuple[Sequence[Entry], Json]:
        """The page (what is chosen, its limit, its revision) of stored entries, as the request's version shows them."""
        chosen, limit, revision = page
        view = call.resource.view
        if view is None:
            return _take(entries, chosen, limit, revision)
        if not chosen.is_plain:
            # Labels and fields are those that this version shows.
            return _take(await view.show(list(entries)), chosen, limit, revision)
        taken, meta = _take(entries, chosen, limit, revision)
        return await view.show(taken), meta

    async def _at(
        self, call: Call, chosen: Selection, limit: int, revision: int, after: str
    ) -> tuple[Sequence[Entry], Json]:
        """A page of the past: from the cache if nothing changed since, or else from the store's history."""
        collection = self.collection(call)
        if revision < 0:
            # An inconsistent continuation: go on from the key in what is there now.
            await self._cache.fresh()
            return await self._take(call, collection.scan(chosen.prefix, after), (chosen, limit, self._cache.revision))
        await self._reach(revision)
        if collection.changed <= revision:
            return await self._take(call, collection.scan(chosen.prefix, after), (chosen, limit, revision))
        try:
            page = await self._cache.store.list(chosen.prefix, after=after, revision=revision)
        except store.Compacted:
            raise _expired(after, chosen.prefix) from None
        entries = (Entry(record, collection.heads) for record in page.records)
        return await self._take(call, entries, (chosen, limit, revision))


def _candidates(collection: Collection, chosen: Selection) -> Iterable[Entry]:
    """The entries among which to choose, in key order."""
    node = chosen.fields.exact(_NODE) if chosen.fields is not None else None
    if not node:
        return collection.scan(chosen.prefix)
    # Every kubelet lists its own pods: they are looked up, not looked for.
    return sorted(collection.having(_NODE, node), key=lambda entry: entry.key)


def _take(entries: Iterable[Entry], chosen: Selection, limit: int, revision: int) -> tuple[list[Entry], Json]:
    plain = chosen.is_plain
    matching: Iterator[Entry] = iter(entries) if plain else filter(chosen.matches, entries)
    if not limit:
        return list(matching), {"resourceVersion": str(revision)}
    taken = list(islice(matching, limit))
    meta: Json = {"resourceVersion": str(revision)}
    rest = sum(1 for _ in matching) if len(taken) == limit else 0
    if rest:
        meta["continue"] = _continue(revision, taken[-1].key[len(chosen.prefix) :])
        if plain:
            meta["remainingItemCount"] = rest
    return taken, meta


def _limit(call: Call) -> int:
    text = call.request.param("limit")
    if not text:
        return 0
    if not text.isdecimal():
        raise errors.BadRequest(f'limit: Invalid value: "{text}": must be a non-negative integer')
    return int(text)


def _check_match(match: str, revision: int | None, token: str) -> None:
    if not match:
        return
    problem = ""
    if match not in ("Exact", "NotOlderThan"):
        problem = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan"'
    elif token:
        problem = "Forbidden: resourceVersionMatch is forbidden when continue is provided"
    elif revision is None:
        problem = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
    elif match == "Exact" and revision == 0:
        problem = 'Forbidden: resourceVersionMatch "Exact" is forbidden for resourceVersion "0"'
    if problem:
        raise errors.Invalid(f'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: {problem}')


def _continue(revision: int, start: str) -> str:
    token = orjson.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": start})
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def _parse_continue(token: str, prefix: str) -> tuple[int, str]:
    try:
        data: Any = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        if data["v"] != "meta.k8s.io/v1" or ".." in data["start"]:
            raise ValueError
        return int(data["rv"]), prefix + str(data["start"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise errors.BadRequest(f"continue key is not valid: {token[:64]}") from None


def _expired(after: str, prefix: str) -> errors.Expired:
    error = errors.Expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "
        "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
        "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
        "modified, or deleted between the time the first chunk was returned and now may show up in the list."
    )
    error.list_meta = {"continue": _continue(-1, after[len(prefix) :])}
    return error
