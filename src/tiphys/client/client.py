"""`Client.of(PODS)`: the typed, generic client of one resource.

Reads give the resource's frozen model (or dicts on request); writes take dicts and patches, never a decoded model,
since a model holds only the fields its reader knows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec
import orjson

from tiphys.api.errors import from_status
from tiphys.api.http import APPLY_PATCH, JSON, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH
from tiphys.api.meta import Model, Object, ObjectMeta
from tiphys.api.resource import Json, ResourceType
from tiphys.client.transport import Transport

T = TypeVar("T", bound=msgspec.Struct)
# Asks for the metadata of objects only.
_METADATA = ",".join(
    f"{JSON};as={kind};g=meta.k8s.io;v=v1" for kind in ("PartialObjectMetadataList", "PartialObjectMetadata")
)
_PATCH_TYPES = {"merge": MERGE_PATCH, "strategic": STRATEGIC_PATCH, "json": JSON_PATCH}


class ListMeta(Model, frozen=True):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")
    remaining_item_count: int | None = None


class WatchLine(Model, frozen=True):
    """One line of a watch; the object is decoded by who knows its type."""

    type: str
    object: msgspec.Raw


_watch_lines = msgspec.json.Decoder(WatchLine)
_written = msgspec.json.Decoder(Object)

# For callers that want to know what they wrote: (group, plural) -> the last revision that any client wrote here.
writes: ContextVar[dict[tuple[str, str], int] | None] = ContextVar("writes", default=None)


class Listed(Model, Generic[T], frozen=True):
    metadata: ListMeta
    items: list[T] = []


@cache
def decoder_of(model: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(model)


@cache
def _list_decoder_of(model: type[T]) -> msgspec.json.Decoder[Listed[T]]:
    return msgspec.json.Decoder(Listed[model])  # type: ignore[valid-type]


class Client:
    def __init__(self, transport: Transport, *, manager: str) -> None:
        """`manager` is the field manager that writes are booked to."""
        self.transport, self.manager = transport, manager

    def of(self, resource: ResourceType[T]) -> ResourceClient[T]:
        return ResourceClient(self.transport, resource, self.manager)

    def metadata_of(self, resource: ResourceType[T]) -> ResourceClient[T]:
        """A client whose answers hold nothing but the metadata of objects, whatever their kind."""
        return ResourceClient(self.transport, resource, self.manager, accept=_METADATA)

    async def reconnect(self) -> None:
        """Break off whatever is under way, as `Unreachable`: what follows goes over new connections.

        A watch on a connection that the network has swallowed is silent, and would be for ever.
        """
        await self.transport.close()

    async def close(self) -> None:
        await self.transport.close()


class ResourceClient(Generic[T]):
    """Every method raises `api.errors.ApiError` subclasses and `Unreachable`."""

    def __init__(self, transport: Transport, resource: ResourceType[T], manager: str, *, accept: str = JSON) -> None:
        self._transport, self.resource, self._manager, self._accept = transport, resource, manager, accept
        self._decode: Callable[[bytes], T] = decoder_of(resource.model).decode

    async def get(self, name: str, namespace: str = "", *, subresource: str = "") -> T:
        path = self.resource.path(name, namespace, subresource)
        return self._decode(await self._transport.send("GET", path, accept=self._accept))

    async def get_json(self, name: str, namespace: str = "", *, subresource: str = "") -> Json:
        data = await self._transport.send("GET", self.resource.path(name, namespace, subresource))
        found: Json = orjson.loads(data)
        return found

    async def list(self, namespace: str = "", **query: str) -> tuple[Sequence[T], str]:
        """The objects and the list's resourceVersion; `query` takes labelSelector, fieldSelector, resourceVersion..."""
        listed = await self._listed(namespace, query)
        return listed.items, listed.metadata.resource_version

    async def pages(
        self, namespace: str = "", *, size: int = 500, **query: str
    ) -> AsyncIterator[tuple[Sequence[T], str]]:
        """As `list`, `size` objects at a time; all pages are of one resourceVersion."""
        more = ""
        while True:
            found = await self._listed(namespace, {**query, "limit": str(size), **({"continue": more} if more else {})})
            yield found.items, found.metadata.resource_version
            more = found.metadata.continue_
            if not more:
                return

    async def _listed(self, namespace: str, query: Mapping[str, str]) -> Listed[T]:
        path = self.resource.path(namespace=namespace)
        data = await self._transport.send("GET", path, query=query, accept=self._accept)
        return _list_decoder_of(self.resource.model).decode(data)

    async def create(self, obj: Json, *, subresource: str = "", **query: str) -> T:
        meta = obj["metadata"]
        name = meta["name"] if subresource else ""
        path = self.resource.path(name, meta.get("namespace", ""), subresource)
        return self._decode(await self._write("POST", path, obj, query))

    async def create_json(self, obj: Json, *, subresource: str = "", **query: str) -> Json:
        """As `create`, for answers that are not of the resource's own model (tokens, reviews)."""
        meta = obj.get("metadata", {})
        path = self.resource.path(meta.get("name", "") if subresource else "", meta.get("namespace", ""), subresource)
        made: Json = orjson.loads(await self._write("POST", path, obj, query))
        return made

    async def update(self, obj: Json, *, subresource: str = "", **query: str) -> T:
        return self._decode(await self._update(obj, subresource, query))

    async def update_json(self, obj: Json, *, subresource: str = "", **query: str) -> Json:
        made: Json = orjson.loads(await self._update(obj, subresource, query))
        return made

    async def _update(self, obj: Json, subresource: str, query: Mapping[str, str]) -> bytes:
        meta = obj["metadata"]
        path = self.resource.path(meta["name"], meta.get("namespace", ""), subresource)
        return await self._write("PUT", path, obj, query)

    async def patch(
        self, meta: ObjectMeta, patch: Json | Sequence[Any], *, kind: str = "merge", subresource: str = "",
        within: float = 60.0, **query: str,
    ) -> T:  # fmt: skip
        """Patch the object that `meta` names, `within` seconds. `kind` is merge, strategic or json.

        A `metadata.resourceVersion` or `metadata.uid` inside the patch makes it conditional.
        """
        path = self.resource.path(meta.name, meta.namespace, subresource)
        return self._decode(await self._write("PATCH", path, patch, query, _PATCH_TYPES[kind], within))

    async def apply(self, obj: Json, *, force: bool = False, subresource: str = "", **query: str) -> T:
        """Server-side apply as this client's manager."""
        meta = obj["metadata"]
        path = self.resource.path(meta["name"], meta.get("namespace", ""), subresource)
        values = {"force": "true" if force else "false", **query}
        return self._decode(await self._write("PATCH", path, obj, values, APPLY_PATCH))

    async def delete(
        self,
        meta: ObjectMeta,
        *,
        uid: bool = True,
        unchanged: bool = False,
        grace: int | None = None,
        propagation: str = "",
    ) -> None:
        """Delete the object that `meta` names; with `uid`, only if it still is the same one.

        With `unchanged`, only if it still has the resourceVersion of `meta`.
        """
        options: Json = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if uid and meta.uid:
            options["preconditions"] = {"uid": meta.uid}
        if unchanged and meta.resource_version:
            options.setdefault("preconditions", {})["resourceVersion"] = meta.resource_version
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if propagation:
            options["propagationPolicy"] = propagation
        path = self.resource.path(meta.name, meta.namespace)
        self._note(await self._transport.send("DELETE", path, body=orjson.dumps(options)))

    async def delete_collection(self, namespace: str = "", *, propagation: str = "", **query: str) -> None:
        """Delete every object that `query` selects."""
        options: Json = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if propagation:
            options["propagationPolicy"] = propagation
        path = self.resource.path(namespace=namespace)
        await self._transport.send("DELETE", path, query=query, body=orjson.dumps(options), accept=self._accept)

    @asynccontextmanager
    async def watch(self, namespace: str = "", **query: str) -> AsyncIterator[AsyncIterator[tuple[str, bytes]]]:
        """(type, object as JSON) pairs: ADDED, MODIFIED, DELETED, BOOKMARK. An ERROR line raises its ApiError."""
        path = self.resource.path(namespace=namespace)
        async with self._transport.stream(path, query={"watch": "true", **query}, accept=self._accept) as lines:
            yield _events(lines)

    async def _write(
        self, method: str, path: str, body: Any, query: Mapping[str, str], content_type: str = JSON,
        within: float = 60.0,
    ) -> bytes:  # fmt: skip
        values = {"fieldManager": self._manager, **query}
        answer = await self._transport.send(
            method, path, query=values, body=orjson.dumps(body), content_type=content_type, within=within
        )
        self._note(answer)
        return answer

    def _note(self, answer: bytes) -> None:
        noted = writes.get()
        if noted is not None:
            key = (self.resource.group, self.resource.plural)
            noted[key] = max(noted.get(key, 0), _written.decode(answer).metadata.revision)


async def _events(lines: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, bytes]]:
    async for line in lines:
        event = _watch_lines.decode(line)
        if event.type == "ERROR":
            raise from_status(orjson.loads(bytes(event.object)))
        yield event.type, bytes(event.object)
