"""Counts what the objects of a namespace use of its ResourceQuotas, custom resources included, after something went.

Admission charges what is created; this controller counts a quota anew when it is made or changed, when an object that
counts goes or needs less, and, a little later, after any other change, which makes good what a crash left charged.

Admission charges before the object is there, and a count in between misses it: so nothing is given back before the
quota has been as it is for a while. That holds nobody up: whoever needs what is given back was refused, and a refusal
changes no quota.
Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import orjson

from tiphys.api import quota
from tiphys.api.errors import ApiError, Expired, Gone, NotFound
from tiphys.api.meta import Key, Object
from tiphys.api.pod_resources import Amounts, add, parsed
from tiphys.api.quantity import ZERO, of
from tiphys.api.resource import Json, ResourceType
from tiphys.base.backoff import Backoff
from tiphys.base.log import Log
from tiphys.client.client import decoder_of
from tiphys.client.discovery import discover
from tiphys.client.informer import meta_of
from tiphys.client.transport import Unreachable
from tiphys.controllers.base import After, Context
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.core.resourcequota import RESOURCE_QUOTAS, ResourceQuota

_log = Log("resourcequota")
_BACKOFF = Backoff(0.1, 30.0)
# By then what was charged is there, or has failed.
_CHARGED, _SETTLED = 2.0, 5.0
# A resource that a quota counts and nobody serves may be served later.
_UNSERVED = 30.0
Kind = tuple[str, str]


class ResourceQuotaController:
    name = "resourcequota-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._context = context
        self._quotas = context.informers.of(RESOURCE_QUOTAS)
        self._quotas.add_index("namespace", lambda found: [found.metadata.namespace])
        self._quotas.add_handler(self._quota_changed)
        self._client = context.client.of(RESOURCE_QUOTAS)
        self._types: dict[Kind, ResourceType[Any]] = {}
        self._later: set[str] = set()
        # By key, the last resourceVersion that was seen, and when.
        self._seen: dict[Key, tuple[str, float]] = {}
        self._followed: set[Kind] = set()
        self._stale = asyncio.Event()

    async def reconcile(self, key: Key) -> After | None:
        self._later.discard(key)
        known = self._quotas.get(key)
        if known is None:
            return None
        try:
            found = await self._client.get_json(known.metadata.name, known.metadata.namespace)
        except NotFound:
            return None
        served = await self._served({quota.resources_of(name) for name in found["spec"].get("hard") or ()})
        recent = _CHARGED - self._quiet(key, found)
        used = await self._used(found, served.values())
        counted = {name: used.get(name, ZERO) for name in found["spec"].get("hard") or ()}
        kept = _nothing_less(found, counted) if recent > 0 else counted
        status = plan(found, kept)
        if status is not None:
            version = found["metadata"]["resourceVersion"]
            patch = {"metadata": {"resourceVersion": version}, "status": status}
            await self._client.patch(known.metadata, patch, subresource="status")
        if kept != counted:
            return After(recent)
        missing = any(quota.resources_of(name) not in served for name in found["spec"].get("hard") or ())
        return After(_UNSERVED) if missing else None

    def _quiet(self, key: Key, found: Json) -> float:
        """For how many seconds a quota has been as it was found; 0 if the informer has not seen that yet."""
        version, since = self._seen.get(key, ("", 0.0))
        return self._context.clock.monotonic() - since if version == found["metadata"]["resourceVersion"] else 0.0

    async def _served(self, wanted: Iterable[Kind]) -> dict[Kind, ResourceType[Any]]:
        wanted = set(wanted)
        if not wanted <= self._types.keys():
            self._types = {(each.group, each.plural): each for each in await discover(self._context.client.transport)}
        return {kind: self._types[kind] for kind in wanted if kind in self._types}

    async def _used(self, found: Json, resources: Iterable[ResourceType[Any]]) -> Amounts:
        now, namespace, names = self._context.clock.time(), found["metadata"]["namespace"], found["spec"]["hard"]
        scoped = bool(found["spec"].get("scopes") or found["spec"].get("scopeSelector"))
        used: Amounts = {}
        for resource in resources:
            group, plural = resource.group, resource.plural
            concerned = quota.concerned(group, plural, names)
            path = resource.path(namespace=namespace)
            transport = self._context.client.transport
            if not scoped and plural != "pods" and not concerned - {quota.counted_as(group, plural), plural}:
                # Only their number counts, and the server tells it with a page of one.
                answer = orjson.loads(await transport.send("GET", path, query={"limit": "1"}))
                count = len(answer["items"]) + (answer["metadata"].get("remainingItemCount") or 0)
                used |= dict.fromkeys(concerned, of(count))
                continue
            for obj in orjson.loads(await transport.send("GET", path))["items"]:
                if quota.matches(found, group, plural, obj):
                    add(used, quota.usage(group, plural, obj, now))
        return used

    def _quota_changed(self, old: ResourceQuota | None, new: ResourceQuota | None) -> None:
        if new is None:
            if old is not None:
                self._seen.pop(old.metadata.key, None)
            return
        self._seen[new.metadata.key] = new.metadata.resource_version, self._context.clock.monotonic()
        if old is None or old.spec != new.spec or new.status.hard != new.spec.hard:
            self._stale.set()
            self._context.queue.add(new.metadata.key)
        else:
            self._soon(new.metadata.key)

    def _soon(self, key: str) -> None:
        if key not in self._later:
            self._later.add(key)
            self._context.queue.add_after(key, _SETTLED)

    def _object_changed(self, kind: str, namespace: str) -> None:
        for found in self._quotas.by("namespace", namespace):
            if kind == "ADDED":
                self._soon(found.metadata.key)
            else:
                self._context.queue.add(found.metadata.key)

    async def run(self) -> None:
        """Follow the resources that quotas count: by the process's informers where it has them, else by a watch."""
        followed: set[Kind] = set()
        self._stale.set()
        async with asyncio.TaskGroup() as group:
            while True:
                await self._stale.wait()
                self._stale.clear()
                wanted = {quota.resources_of(name) for found in self._quotas.items() for name in found.spec.hard}
                for kind, resource in (await self._served(wanted)).items():
                    informer = self._context.informers.get(*kind)
                    if informer is not None and kind not in self._followed:
                        self._followed.add(kind)
                        informer.add_handler(self._informed)
                    elif informer is None and kind not in followed:
                        followed.add(kind)
                        group.create_task(self._follow(resource), name=f"quota {resource.plural}")

    def _informed(self, old: Any, new: Any) -> None:
        """Of the many changes of a pod only its end, and that it is being deleted, make it count less."""
        if isinstance(old, Pod) and isinstance(new, Pod) and (old.finished, old.deleted) == (new.finished, new.deleted):
            return
        kind = "ADDED" if old is None else "DELETED" if new is None else "MODIFIED"
        self._object_changed(kind, meta_of(new if new is not None else old).namespace)

    async def _follow(self, resource: ResourceType[Any]) -> None:
        client, decode = self._context.client.of(resource), decoder_of(Object).decode
        failures, revision = 0, ""
        while True:
            try:
                query = {"resourceVersion": revision} if revision else {}
                async with client.watch(allowWatchBookmarks="true", **query) as events:
                    async for kind, data in events:
                        meta = meta_of(decode(data))
                        revision = meta.resource_version
                        if kind != "BOOKMARK":
                            self._object_changed(kind, meta.namespace)
                failures = 0
            except (Expired, Gone):
                revision = ""
            except (ApiError, Unreachable) as error:
                _log.warning("watch failed", resource=resource.group_resource, error=str(error))
                await self._context.clock.sleep(_BACKOFF.delay(failures))
                failures += 1


def _nothing_less(found: Json, used: Amounts) -> Amounts:
    """What is used, at least as much as the quota says."""
    known = parsed((found.get("status") or {}).get("used"))
    return {name: max(amount, known.get(name, ZERO)) for name, amount in used.items()}


def plan(found: Json, used: Amounts) -> Json | None:
    """The merge patch of the status of a quota, or None if it is right. What is not counted any more goes."""
    hard, status = found["spec"].get("hard") or {}, found.get("status") or {}
    wanted = {"hard": hard, "used": {name: str(used.get(name, ZERO)) for name in hard}}
    if all((status.get(field) or {}) == wanted[field] for field in wanted):
        return None
    for field, values in wanted.items():
        gone = {name: None for name in status.get(field) or {} if name not in hard}
        wanted[field] = {**values, **gone}
    return wanted
