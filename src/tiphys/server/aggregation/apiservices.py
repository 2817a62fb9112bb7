"""APIServices: which group versions other servers answer for, and whether they can.

Every group version of the registry has an APIService of its own, made and removed here; one with a `service` sends its
group version there. Conditions are set anew when a Service, its endpoints or the APIService change, and every half
minute for those behind a Service, which may fail without anything changing.
Source: https://kubernetes.io/docs/tasks/extend-kubernetes/setup-extension-api-server/
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import orjson

from tiphys.api import errors
from tiphys.api.http import JSON, MERGE_PATCH, Request, User
from tiphys.api.resource import Json
from tiphys.api.time import rfc3339
from tiphys.base.log import Log
from tiphys.server.aggregation.remotes import Aggregation
from tiphys.server.app import ApiServer
from tiphys.server.backends import NoBackend
from tiphys.server.cache import Cache, Entry, Watcher

_log = Log("apiservices")
PREFIX = "/registry/apiregistration.k8s.io/apiservices/"
_PATH = "/apis/apiregistration.k8s.io/v1/apiservices"
_SOURCES = (PREFIX, "/registry/core/services/", "/registry/discovery.k8s.io/endpointslices/")
_SELF = User("system:apiserver", groups=("system:masters", "system:authenticated"))
_MANAGED = "kube-aggregator.kubernetes.io/automanaged"
_AGAIN = 30.0
_PROBE_SECONDS = 5.0
# Upstream's order of groups: groupPriorityMinimum and versionPriority; custom ones come last.
_PRIORITIES = {
    "": (18000, 1), "apps": (17800, 15), "events.k8s.io": (17750, 15), "authentication.k8s.io": (17700, 15),
    "authorization.k8s.io": (17600, 15), "autoscaling": (17500, 30), "batch": (17400, 15),
    "certificates.k8s.io": (17300, 15), "networking.k8s.io": (17200, 15), "policy": (17100, 15),
    "rbac.authorization.k8s.io": (17000, 15), "storage.k8s.io": (16800, 15), "apiextensions.k8s.io": (16700, 15),
    "admissionregistration.k8s.io": (16700, 15), "scheduling.k8s.io": (16600, 15), "coordination.k8s.io": (16500, 15),
    "node.k8s.io": (16300, 15), "discovery.k8s.io": (16200, 15), "flowcontrol.apiserver.k8s.io": (16100, 21),
    "resource.k8s.io": (16200, 15),
}  # fmt: skip
_CUSTOM = (1000, 100)


class ApiServices:
    """`run` under a supervisor."""

    def __init__(self, server: ApiServer, cache: Cache, aggregation: Aggregation) -> None:
        self._server, self._cache, self._aggregation = server, cache, aggregation
        self._collection = cache.of(PREFIX)
        self._changed = asyncio.Event()
        server.registry.subscribe(self._changed.set)

    async def run(self) -> None:
        watchers = [(self._cache.of(prefix), Watcher(lambda entry: True)) for prefix in _SOURCES]
        for collection, watcher in watchers:
            collection.add(watcher)
        self._changed.set()
        try:
            async with asyncio.TaskGroup() as group:
                for index, (_, watcher) in enumerate(watchers):
                    group.create_task(self._follow(watcher, own=index == 0))
                await self._keep()
        finally:
            for collection, watcher in watchers:
                collection.remove(watcher)

    async def _follow(self, watcher: Watcher, *, own: bool) -> None:
        """Services and their endpoints, which change often, matter only to those behind one."""
        while True:
            await watcher.next()
            if own or self._aggregation.remotes():
                self._changed.set()

    async def _keep(self) -> None:
        while True:
            self._changed.clear()
            await self._sync_local()
            await asyncio.gather(*(self._sync(entry) for entry in list(self._collection.items.values())))
            await self._pause()

    async def _pause(self) -> None:
        """Until something changed, or for a while if there is a server that may fail by itself."""
        wait = asyncio.ensure_future(self._changed.wait())
        waits: list[asyncio.Future[object]] = [wait]  # type: ignore[list-item]
        if self._aggregation.remotes():
            waits.append(asyncio.ensure_future(self._server.clock.sleep(_AGAIN)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def _sync_local(self) -> None:
        """An APIService for each group version that is served here, none for those that are no more."""
        await self._cache.fresh()
        wanted = {f"{r.version}.{r.group}": (r.group, r.version) for r in self._server.registry if r.plural}
        present = {entry.name: entry for entry in self._collection.items.values()}
        work = [self._create(*wanted[name]) for name in wanted if name not in present]
        for name, entry in present.items():
            if name not in wanted and _MANAGED in entry.labels and not entry.decode()["spec"].get("service"):
                work.append(self._ask("DELETE", f"{_PATH}/{name}"))
        await asyncio.gather(*work)

    async def _create(self, group: str, version: str) -> None:
        minimum, priority = _PRIORITIES.get(group, _CUSTOM)
        labels = {_MANAGED: "onstart" if group in _PRIORITIES else "true"}
        spec: Json = {"version": version, "groupPriorityMinimum": minimum, "versionPriority": priority}
        if group:
            spec["group"] = group
        body = {"metadata": {"name": f"{version}.{group}", "labels": labels}, "spec": spec}
        await self._ask("POST", _PATH, body)

    async def _ask(self, method: str, path: str, body: Json | None = None) -> None:
        headers = {"content-type": MERGE_PATCH if method == "PATCH" else JSON, "user-agent": "tiphys-server"}
        data = b"" if body is None else orjson.dumps(body)
        answer = await self._server.handle(Request(method, path, {}, headers, data, _SELF))
        if answer.status >= 400 and answer.status not in (404, 409):
            _log.warning("APIService not written", method=method, path=path, answer=answer.body.decode()[:300])

    async def _sync(self, entry: Entry) -> None:
        found = entry.decode()
        status, reason, message = await self._available(found)
        conditions = (found.get("status") or {}).get("conditions") or []
        old = next((c for c in conditions if c.get("type") == "Available"), None)
        if old is not None and (old["status"], old.get("reason"), old.get("message")) == (status, reason, message):
            return
        now = rfc3339(self._server.clock.time())
        if old is not None and old["status"] == status:
            now = old.get("lastTransitionTime", now)
        new = {"type": "Available", "status": status, "reason": reason, "message": message, "lastTransitionTime": now}
        others = [c for c in conditions if c.get("type") != "Available"]
        await self._ask("PATCH", f"{_PATH}/{entry.name}/status", {"status": {"conditions": [*others, new]}})

    async def _available(self, found: Json) -> tuple[str, str, str]:
        spec = found["spec"]
        if not spec.get("service"):
            return "True", "Local", "Local APIServices are always available"
        group, version = spec.get("group", ""), spec["version"]
        try:
            await self._aggregation.refresh(group, version, _PROBE_SECONDS)
        except NoBackend as error:
            return "False", error.reason, error.message
        except (errors.ApiError, TimeoutError) as error:
            url = f"https://{_service(spec['service'])}/apis/{group}/{version}"
            why = f"failing or missing response from {url}: {error or 'timed out'}"
            return "False", "FailedDiscoveryCheck", why
        return "True", "Passed", "all checks passed"


def _service(service: Mapping[str, object]) -> str:
    return f"{service['name']}.{service['namespace']}.svc:{service.get('port', 443)}"
