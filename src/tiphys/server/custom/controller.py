"""Follows the definitions: accepts their names, serves them, and takes their objects along when they go.

`load` serves what was served before, when the server starts; `run` follows from there. A definition is served before
its status says that it is established, so whoever waited for that can use it at once.
Source: upstream's `apiextensions-apiserver/pkg/controller/{status,establish,finalizer}`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from tiphys.api import errors
from tiphys.api.http import Request, User
from tiphys.api.resource import Json
from tiphys.api.time import rfc3339
from tiphys.base.backoff import Backoff
from tiphys.base.log import Log
from tiphys.server.app import ApiServer
from tiphys.server.cache import Cache, Entry, Watcher
from tiphys.server.call import Call
from tiphys.server.changes import Change
from tiphys.server.custom.cleanup import CLEANUP, Cleanup
from tiphys.server.custom.naming import Taken, approval, condition, decide, established, set_condition
from tiphys.server.custom.resources import Served, serve
from tiphys.server.route import Target
from tiphys.server.webhook_client import WebhookClient

_log = Log("crds")
_GROUP, _PLURAL = "apiextensions.k8s.io", "customresourcedefinitions"
_PREFIX = f"/registry/{_GROUP}/{_PLURAL}/"
_BACKOFF = Backoff(initial=0.5, maximum=30.0)
_SELF = User("system:apiserver", groups=("system:masters", "system:authenticated"))


@dataclass(slots=True)
class _Known:
    """What the others of a group must know of a definition."""

    group: str
    accepted: Json
    refused: bool

    @classmethod
    def of(cls, definition: Json) -> _Known:
        status = definition.get("status") or {}
        refused = condition(definition, "NamesAccepted") == "False"
        return cls(definition["spec"]["group"], status.get("acceptedNames") or {}, refused)


class CustomResources:
    def __init__(self, server: ApiServer, cache: Cache, client: WebhookClient) -> None:
        self._server, self._cache, self._client = server, cache, client
        self._definitions = cache.of(_PREFIX)
        self._served: dict[str, Served] = {}
        self._known: dict[str, _Known] = {}
        self._cleaning: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, int] = {}

    def load(self) -> None:
        """Serve every definition that was served before."""
        for entry in self._definitions.items.values():
            definition = entry.decode()
            self._known[entry.name] = _Known.of(definition)
            if "True" in (condition(definition, "Established"), condition(definition, "NamesAccepted")):
                self._serve(entry.name, definition)

    async def run(self) -> None:
        """Follow the definitions for ever."""
        watcher = Watcher(lambda entry: True)
        self._definitions.add(watcher)
        try:
            async with asyncio.TaskGroup() as tasks:
                for entry in list(self._definitions.items.values()):
                    await self._sync(entry.key, tasks)
                while True:
                    for _, entry in await watcher.next():
                        await self._sync(entry.key, tasks)
        finally:
            self._definitions.remove(watcher)
            self._cleaning.clear()

    async def _sync(self, key: str, tasks: asyncio.TaskGroup) -> None:
        name = key.removeprefix(_PREFIX)
        entry = self._definitions.items.get(key)
        before = self._known.get(name)
        if entry is None:
            self._known.pop(name, None)
            self._withdraw(name)
        else:
            await self._settle(entry, tasks)
        after = self._known.get(name)
        if before is not None and before.accepted and (after is None or after.accepted != before.accepted):
            # Names came free, which others may have waited for.
            for other, known in list(self._known.items()):
                if other != name and known.group == before.group and known.refused:
                    found = self._definitions.items.get(_PREFIX + other)
                    if found is not None:
                        await self._settle(found, tasks)

    async def _settle(self, entry: Entry, tasks: asyncio.TaskGroup) -> None:
        """Make status and service of a definition what they should be."""
        name, definition = entry.name, entry.decode()
        group = definition["spec"]["group"]
        others = [known.accepted for other, known in self._known.items() if other != name and known.group == group]
        change = _Status(Taken(others))
        status = change.status_of(definition, rfc3339(self._server.clock.time()))
        wanted = {**definition, "status": status}
        self._known[name] = _Known.of(wanted)
        if "True" in (condition(wanted, "Established"), condition(wanted, "NamesAccepted")):
            self._serve(name, wanted)
        meta = definition["metadata"]
        if meta.get("deletionTimestamp"):
            if CLEANUP in (meta.get("finalizers") or ()) and name not in self._cleaning:
                self._cleaning[name] = tasks.create_task(self._clean(name, condition(wanted, "Established") == "True"))
        elif status != definition.get("status") and not await self._written(name, change):
            tasks.create_task(self._again(entry.key, tasks))

    async def _written(self, name: str, change: Change) -> bool:
        """Write a status; False where that must be tried again."""
        try:
            await self._server.writes.modify(self.call(name), change)
        except errors.NotFound:
            pass
        except errors.ApiError as error:
            _log.error("status of a definition cannot be written", name=name, error=error)
            self._failures[name] = self._failures.get(name, 0) + 1
            return False
        self._failures.pop(name, None)
        return True

    async def _again(self, key: str, tasks: asyncio.TaskGroup) -> None:
        failures = self._failures.get(key.removeprefix(_PREFIX), 1)
        await self._server.clock.sleep(_BACKOFF.delay(failures - 1))
        await self._sync(key, tasks)

    def _serve(self, name: str, definition: Json) -> None:
        old = self._served.get(name)
        if old is not None and old.is_of(definition):
            return
        try:
            made = serve(definition, self._client, lambda version: self._schema(name, version))
        except (KeyError, StopIteration, ValueError) as error:
            _log.error("definition cannot be served", name=name, error=error)
            return
        self._served[name] = made
        self._server.registry.update(remove=old.resources if old is not None else (), add=made.resources)
        if old is None or (old.uid, old.generation) != (made.uid, made.generation):
            self._cache.forget(made.stored.prefix, made.stored.selectable_fields)

    def _schema(self, name: str, version: str) -> Json:
        """The schema of a version as its definition has it now."""
        entry = self._definitions.items.get(_PREFIX + name)
        versions = entry.decode()["spec"]["versions"] if entry is not None else ()
        found: Json = next((each for each in versions if each["name"] == version), {})
        schema: Json = (found.get("schema") or {}).get("openAPIV3Schema") or {}
        return schema

    def _withdraw(self, name: str) -> None:
        old = self._served.pop(name, None)
        if old is not None:
            self._server.registry.update(remove=old.resources)
            self._cache.forget(old.stored.prefix, {})

    async def _clean(self, name: str, established: bool) -> None:
        """Empty a definition that goes, for as long as that takes, and let it go."""
        failures = 0
        served = self._served.get(name)
        cleanup = Cleanup(self._server, self.call(name), served.stored if served and established else None, _SELF)
        try:
            while True:
                try:
                    await cleanup.run()
                    return
                except errors.NotFound:
                    return
                except errors.ApiError as error:
                    _log.error("objects of a definition cannot be deleted", name=name, error=error)
                    await self._server.clock.sleep(_BACKOFF.delay(failures))
                    failures += 1
        finally:
            self._cleaning.pop(name, None)

    def call(self, name: str) -> Call:
        """A write of the server's own to the status of a definition."""
        definitions = self._server.resource(_GROUP, "v1", _PLURAL)
        path = definitions.path(name, subresource="status")
        target = Target("update", path, _GROUP, "v1", "", _PLURAL, name, "status")
        request = Request("PUT", path, headers={"user-agent": "tiphys-server"})
        return Call(request, target, definitions, _SELF, self._server.clock.time())


class _Status(Change):
    """Write what became of the names into the status."""

    def __init__(self, taken: Taken) -> None:
        self._taken = taken

    def apply(self, call: Call, current: Json) -> Json:
        current["status"] = self.status_of(current, rfc3339(call.now))
        return current

    def status_of(self, definition: Json, now: str) -> Json:
        """The status that the definition should have."""
        old: Json = definition.get("status") or {}
        status: Json = {**old, "conditions": [dict(each) for each in old.get("conditions") or ()]}
        accepted, named = decide(definition, self._taken)
        status["acceptedNames"] = accepted
        set_condition(status, "NamesAccepted", named, now)
        found = established(definition, named[0] == "True")
        if found is not None:
            set_condition(status, "Established", found, now)
        approved = approval(definition)
        if approved is not None:
            set_condition(status, "KubernetesAPIApprovalPolicyConformant", approved, now)
        return status
