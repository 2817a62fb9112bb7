"""The aggregation layer: group versions that other servers answer for, found by their APIServices.

A request for such a group version is authorized here and then passed on; when its server cannot be reached it fails
with 503, and nothing else does. What the server offers is kept from the last time that it answered, for discovery.
Source: https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/apiserver-aggregation/
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson

from tiphys.api import errors
from tiphys.api.http import Request, Response, User
from tiphys.api.resource import Json
from tiphys.base.log import Log
from tiphys.server.aggregation.client import AggregationClient, Server
from tiphys.server.backends import Backends, NoBackend
from tiphys.server.cache import Cache
from tiphys.server.discovery import Discovery, Offer, aggregated

_log = Log("aggregation")
_PREFIX = "/registry/apiregistration.k8s.io/apiservices/"
_AGGREGATOR = User("system:aggregator", groups=("system:masters", "system:authenticated"))
GroupVersion = tuple[str, str]


@dataclass(slots=True)
class Remote:
    """A group version of another server: its APIService's spec, its resources as aggregated discovery has them."""

    spec: Json
    resources: list[Json] = field(default_factory=list)
    reachable: bool = False


class Aggregation:
    def __init__(self, cache: Cache, client: AggregationClient, discovery: Discovery) -> None:
        self._collection, self._backends = cache.of(_PREFIX), Backends(cache)
        self._client = client
        self._remotes: dict[GroupVersion, Remote] = {}
        self._seen = (-1, -1)
        discovery.remote = self.offers
        self._listeners: list[Callable[[], None]] = [discovery.forget]

    def remotes(self) -> Mapping[GroupVersion, Remote]:
        """Current by the cache; the comparison is all that it costs where nothing changed."""
        state = self._collection.changed, len(self._collection.items)
        if state != self._seen:
            self._seen = state
            found = {}
            for entry in self._collection.items.values():
                spec = entry.decode()["spec"]
                if spec.get("service"):
                    key = spec.get("group", ""), spec["version"]
                    known = self._remotes.get(key)
                    found[key] = Remote(spec, known.resources, known.reachable) if known else Remote(spec)
            if found != self._remotes:
                self._remotes = found
                self._tell()
        return self._remotes

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever what other servers offer may have changed."""
        self._listeners.append(listener)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def offers(self) -> list[Offer]:
        return [
            Offer(group, version, remote.spec["versionPriority"], remote.resources, current=remote.reachable)
            for (group, version), remote in self.remotes().items()
        ]

    def find(self, path: str) -> Remote | None:
        """The remote that answers for a URL path."""
        if not self._seen[1] and not self.remotes():
            return None
        parts = path.split("/", 4)
        return self.remotes().get((parts[2], parts[3])) if len(parts) > 3 and parts[1] == "apis" else None

    async def answer(self, request: Request, user: User) -> Response | None:
        """The other server's answer, or None where this one is asked. Raises ServiceUnavailable."""
        remote = self.find(request.path)
        if remote is None:
            return None
        return await self._client.send(self.server(remote), request, user)

    def server(self, remote: Remote) -> Server:
        """Where to go. Raises ServiceUnavailable."""
        try:
            return self._resolve(remote)
        except NoBackend as error:
            raise errors.ServiceUnavailable(f"service unavailable: {error.message}") from error

    def _resolve(self, remote: Remote) -> Server:
        service, spec = remote.spec["service"], remote.spec
        addresses = self._backends.of(service["namespace"], service["name"], service.get("port") or 443)
        name = f"{service['name']}.{service['namespace']}.svc"
        return Server(
            tuple(sorted(addresses)), name, spec.get("caBundle") or "", spec.get("insecureSkipTLSVerify") is True
        )

    async def fetch(self, group: str, version: str, path: str, headers: Mapping[str, str]) -> Response | None:
        """A document of the server of a group version, as the aggregator itself; None where that is this server."""
        remote = self.remotes().get((group, version))
        if remote is None:
            return None
        return await self._client.send(self.server(remote), Request("GET", path, {}, headers), _AGGREGATOR)

    async def merge_v2(self, document: Json) -> None:
        """Add what the servers that answer say of their group versions to an OpenAPI v2 document; ours stays."""
        found = await asyncio.gather(*(self._v2(*key) for key, remote in self.remotes().items() if remote.reachable))
        for prefix, other in found:
            own = {path: item for path, item in (other.get("paths") or {}).items() if path.startswith(prefix)}
            document["paths"] = own | document["paths"]
            document["definitions"] = (other.get("definitions") or {}) | document["definitions"]

    async def _v2(self, group: str, version: str) -> tuple[str, Json]:
        prefix = f"/apis/{group}/{version}"
        try:
            answer = await self.fetch(group, version, "/openapi/v2", {"accept": "application/json"})
            other = orjson.loads(answer.body) if answer is not None and answer.status == 200 else {}
        except (errors.ApiError, orjson.JSONDecodeError) as error:
            _log.warning("no OpenAPI v2 from another server", group=group, version=version, error=str(error))
            other = {}
        return prefix, other if isinstance(other, dict) else {}

    async def refresh(self, group: str, version: str, seconds: float) -> None:
        """Ask what the server offers. Raises NoBackend, ApiError, TimeoutError where it cannot say."""
        remote = self.remotes().get((group, version))
        if remote is None:
            return
        was, reachable = (remote.reachable, remote.resources), False
        try:
            async with asyncio.timeout(seconds):
                path = f"/apis/{group}/{version}"
                request = Request("GET", path, {}, {"accept": "application/json"})
                answer = await self._client.send(self._resolve(remote), request, _AGGREGATOR, seconds=seconds)
            if answer.status != 200:
                raise errors.ServiceUnavailable(f"bad status from {path}: {answer.status}")
            remote.resources, reachable = _offered(answer.body, group, version), True
        finally:
            remote.reachable = reachable
            if (remote.reachable, remote.resources) != was:
                self._tell()


def _offered(body: bytes, group: str, version: str) -> list[Json]:
    """The aggregated form of an APIResourceList. Raises ServiceUnavailable for what is none."""
    try:
        listed: list[Json] = orjson.loads(body)["resources"]
        return aggregated(listed, group, version)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise errors.ServiceUnavailable(f"not an APIResourceList: {error!r}") from error
