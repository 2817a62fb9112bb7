"""Feeds the graph of owners from every resource that can be listed, watched and deleted, custom ones included.

Resources that the process has an informer of are read from it; each other one has a watch that keeps nothing. A change
of a CustomResourceDefinition or an APIService has the list of resources made anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tiphys.api.errors import ApiError, Expired, Gone
from tiphys.api.meta import OwnerReference, Uid
from tiphys.api.resource import ResourceType
from tiphys.base.backoff import Backoff
from tiphys.base.log import Log
from tiphys.client.client import decoder_of
from tiphys.client.discovery import discover
from tiphys.client.informer import Informer, meta_of
from tiphys.client.transport import Unreachable
from tiphys.controllers.base import Context
from tiphys.controllers.garbage_graph import Graph, Metadata, Partial

_log = Log("garbage-collector")
_BACKOFF = Backoff(0.1, 30.0)
_NEEDED = {"list", "watch", "delete"}
# Nothing depends on events, and nothing is as frequent.
_IGNORED = {("", "events"), ("events.k8s.io", "events")}
_SOURCES = {("apiextensions.k8s.io", "customresourcedefinitions"), ("apiregistration.k8s.io", "apiservices")}
_decode = decoder_of(Partial).decode
Kind = tuple[str, str]


class Monitors:
    """Run with `run`; `ready` returns while every known resource has been read once (or has failed to be)."""

    def __init__(self, context: Context, graph: Graph, discovered: Callable[[], None]) -> None:
        """`discovered` is called whenever the resources may have changed."""
        self._context, self._graph, self._discovered = context, graph, discovered
        self._kinds: dict[tuple[str, str], ResourceType[Any]] = {}
        self._tasks: dict[Kind, asyncio.Task[None]] = {}
        self._informed: set[Kind] = set()
        self._pending: set[Kind] = set()
        self._read: set[Kind] = set()
        self._complete = asyncio.Event()
        self._stale = asyncio.Event()

    async def ready(self) -> None:
        await self._complete.wait()

    def resource_of(self, reference: OwnerReference) -> ResourceType[Any] | None:
        """The resource of an owner, in the version that its group prefers; the uid holds in every version."""
        group, _, _ = reference.api_version.rpartition("/")
        return self._kinds.get((group, reference.kind))

    async def run(self) -> None:
        self._tasks.clear()
        self._stale.set()
        failures = 0
        async with asyncio.TaskGroup() as group:
            while True:
                await self._stale.wait()
                self._stale.clear()
                try:
                    found = [replace(each, model=Partial) for each in await discover(self._context.client.transport)]
                except (ApiError, Unreachable) as error:
                    _log.warning("discovery failed", error=str(error))
                    await self._context.clock.sleep(_BACKOFF.delay(failures))
                    failures += 1
                    self._stale.set()
                    continue
                failures = 0
                self._adopt(found, group)

    def _adopt(self, found: list[ResourceType[Any]], group: asyncio.TaskGroup) -> None:
        """Follow the resources that are new, let go of those that are no more."""
        self._kinds = {(each.group, each.kind): each for each in found if "get" in each.verbs}
        wanted = {(each.group, each.plural): each for each in found if _NEEDED.issubset(each.verbs)}
        for kind in set(self._tasks) - set(wanted):
            self._tasks.pop(kind).cancel()
            self._pending.discard(kind)
            self._graph.withdraw(kind)
        for kind, resource in wanted.items():
            if kind in self._tasks or kind in self._informed or kind in _IGNORED:
                continue
            informer = self._context.informers.get(*kind)
            if informer is not None:
                self._informed.add(kind)
                self._inform(informer, resource)
            else:
                self._pending.add(kind)
                self._complete.clear()
                self._tasks[kind] = group.create_task(self._follow(kind, resource), name=f"garbage {resource.plural}")
        self._settled()
        self._discovered()

    def _settled(self, kind: Kind | None = None) -> None:
        if kind is not None:
            self._pending.discard(kind)
        if not self._pending:
            self._complete.set()

    def _inform(self, informer: Informer[Any], resource: ResourceType[Any]) -> None:
        source = (resource.group, resource.plural) in _SOURCES

        def changed(old: Any, new: Any) -> None:
            if old is not None and (new is None or meta_of(old).uid != meta_of(new).uid):
                self._graph.remove(meta_of(old).uid)
            if new is not None:
                self._graph.observe(resource, meta_of(new))
            if source:
                self._stale.set()

        informer.add_handler(changed)

    async def _follow(self, kind: Kind, resource: ResourceType[Any]) -> None:
        watch = _Watch(self, resource, kind in _SOURCES)
        failures = 0
        while True:
            try:
                await watch.run(lambda: self._settled(kind))
                failures = 0
            except (Expired, Gone):
                watch.revision = ""
            except (ApiError, Unreachable) as error:
                # A resource that cannot be read must not stop collection among the others.
                self._settled(kind)
                _log.warning("watch failed", resource=resource.group_resource, error=str(error))
                await self._context.clock.sleep(_BACKOFF.delay(failures))
                failures += 1

    def change(self, kind: str, resource: ResourceType[Any], meta: Metadata) -> None:
        if kind == "DELETED":
            self._graph.remove(meta.uid)
        else:
            self._graph.observe(resource, meta)

    def refresh(self) -> None:
        self._stale.set()

    def retain(self, resource: ResourceType[Any], uids: set[Uid]) -> None:
        """All of a resource: what was missed since it was read before, also by a watch that crashed, is made good."""
        kind = (resource.group, resource.plural)
        if kind in self._read:
            self._graph.retain(kind, uids)
        self._read.add(kind)

    @property
    def context(self) -> Context:
        return self._context


class _Watch:
    """One resource's watch; it begins with all that is there, and goes on from the last revision seen."""

    def __init__(self, monitors: Monitors, resource: ResourceType[Any], source: bool) -> None:
        self._monitors, self._resource, self._source = monitors, resource, source
        self._client = monitors.context.client.of(resource)
        self.revision = ""

    async def run(self, synced: Callable[[], None]) -> None:
        query = {"allowWatchBookmarks": "true"}
        seen: set[Uid] | None = None
        if self.revision:
            query["resourceVersion"] = self.revision
        else:
            seen = set()
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        async with self._client.watch(**query) as events:
            async for kind, data in events:
                meta = _decode(data).metadata
                if kind != "BOOKMARK":
                    self._monitors.change(kind, self._resource, meta)
                    if self._source:
                        self._monitors.refresh()
                    if seen is not None:
                        seen.add(meta.uid)
                elif seen is not None:
                    # The first bookmark ends what was there.
                    self._monitors.retain(self._resource, seen)
                    seen = None
                    synced()
                if seen is None:
                    self.revision = meta.resource_version
