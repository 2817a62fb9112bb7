"""OpenAPI v2 and v3 of everything served, derived from the registry and the schemas.

Field descriptions come from the optional `prose` package and are missing without it. Documents are made on first use
and thrown away when the registry changes. Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator

import orjson

from tiphys import KUBERNETES_VERSION
from tiphys.api import errors
from tiphys.api.http import JSON, Request, Response
from tiphys.api.registry import AnyResource, Registry
from tiphys.api.resource import Json
from tiphys.server import openapi_protobuf
from tiphys.server.aggregation.remotes import Aggregation
from tiphys.server.app import Extensions
from tiphys.server.openapi_schemas import V2, V3, Definitions

_INFO = {"title": "Kubernetes", "version": KUBERNETES_VERSION}
_ACTIONS = {
    "create": ("post", "post", False), "list": ("get", "list", False),
    "deletecollection": ("delete", "deletecollection", False),
    "get": ("get", "get", True), "update": ("put", "put", True), "patch": ("patch", "patch", True),
    "delete": ("delete", "delete", True),
}  # fmt: skip


class OpenApi:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._made: dict[str, bytes] = {}
        registry.subscribe(self._made.clear)
        # The aggregation layer: the group versions of other servers, and their documents.
        self.aggregation: Aggregation | None = None

    def join(self, aggregation: Aggregation) -> None:
        self.aggregation = aggregation
        aggregation.subscribe(self._made.clear)

    def install(self, extensions: Extensions) -> None:
        extensions.pages["/openapi/v2"] = self._v2
        extensions.pages["/openapi/v3"] = self._index
        extensions.pages["/openapi/v3/"] = self._v3

    async def _index(self, request: Request) -> Response:
        paths = {}
        for group, version in self._group_versions():
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            digest = hashlib.sha256(self._fingerprint(group, version)).hexdigest().upper()
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
        for (group, version), remote in self.aggregation.remotes().items() if self.aggregation is not None else ():
            if remote.reachable:
                digest = hashlib.sha256(orjson.dumps([remote.spec, remote.resources])).hexdigest().upper()
                path = f"apis/{group}/{version}"
                paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
        return Response(200, orjson.dumps({"paths": paths}))

    async def _v3(self, request: Request) -> Response:
        path = request.path.removeprefix("/openapi/v3/")
        match path.split("/"):
            case ["api", version]:
                group = ""
            case ["apis", group, version]:
                pass
            case _:
                raise errors.NotFound("the server could not find the requested resource")
        if self.aggregation is not None:
            answer = await self.aggregation.fetch(group, version, request.path, {"accept": JSON})
            if answer is not None:
                return answer
        if (group, version) not in self._group_versions():
            raise errors.NotFound("the server could not find the requested resource")
        body = self._made.get(path)
        if body is None:
            body = self._made[path] = orjson.dumps(self._document(group, version))
        headers = {"ETag": f'"{hashlib.sha256(body).hexdigest().upper()}"', "Vary": "Accept"}
        return Response(200, body, JSON, headers)

    async def _v2(self, request: Request) -> Response:
        """As JSON, or in the protobuf that kubectl asks for."""
        accept = request.headers.get("accept", "")
        binary = "+protobuf" in accept and "json" not in accept and "*/*" not in accept
        if binary and not any(media in accept for media in (openapi_protobuf.ASKED, openapi_protobuf.MEDIA_TYPE)):
            raise errors.NotAcceptable(f"OpenAPI v2 is served as {JSON} and {openapi_protobuf.MEDIA_TYPE}")
        body = self._made.get("v2")
        if body is None:
            body = self._made["v2"] = orjson.dumps(await self._whole())
        if binary:
            body = await self._binary(body)
        media = openapi_protobuf.MEDIA_TYPE if binary else JSON
        headers = {"ETag": f'"{hashlib.sha256(body).hexdigest().upper()}"', "Vary": "Accept"}
        return Response(200, body, media, headers)

    async def _binary(self, document: bytes) -> bytes:
        made = self._made.get("v2 protobuf")
        if made is None:
            # With many custom resources this takes a while: beside the event loop.
            made = await asyncio.to_thread(lambda: openapi_protobuf.encode(orjson.loads(document)))
            if self._made.get("v2") is document:
                self._made["v2 protobuf"] = made
        return made

    async def _whole(self) -> Json:
        """The document of everything."""
        definitions = Definitions(V2)
        paths: Json = {}
        for resource in self._registry:
            paths |= _paths(resource, definitions, v3=False)
        document: Json = {"swagger": "2.0", "info": _INFO, "paths": paths, "definitions": definitions.all()}
        if self.aggregation is not None:
            await self.aggregation.merge_v2(document)
        return document

    def _group_versions(self) -> list[tuple[str, str]]:
        return list(dict.fromkeys((resource.group, resource.version) for resource in self._registry))

    def _fingerprint(self, group: str, version: str) -> bytes:
        """Changes whenever the document would: built-ins never do, custom ones are compared by what they declare."""
        kept = self._made.get(f"of {group}/{version}")
        if kept is not None:
            return kept
        parts = []
        for resource in self._registry:
            if (resource.group, resource.version) == (group, version):
                own = resource.openapi.digest if resource.openapi is not None else ""
                parts.append([resource.plural, resource.kind, own])
        made = self._made[f"of {group}/{version}"] = orjson.dumps(parts)
        return made

    def _document(self, group: str, version: str) -> Json:
        definitions = Definitions(V3)
        paths: Json = {}
        for resource in self._registry:
            if (resource.group, resource.version) == (group, version):
                paths |= _paths(resource, definitions, v3=True)
        return {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {"schemas": definitions.all()}}


def _paths(resource: AnyResource, definitions: Definitions, *, v3: bool) -> Json:
    """The operations of one resource; enough for clients to find kinds, verbs and patch types."""
    if not resource.schema and resource.structural is None:
        return {}
    name = definitions.add(resource)
    reference = definitions.reference(name)
    root = resource.path()
    if resource.namespaced:
        root = root.replace(f"/{resource.plural}", f"/namespaces/{{namespace}}/{resource.plural}")
    paths: dict[str, Json] = {}
    for verb in resource.verbs:
        if verb not in _ACTIONS:
            continue
        method, action, named = _ACTIONS[verb]
        path = f"{root}/{{name}}" if named else root
        paths.setdefault(path, {})[method] = _operation(resource, action, reference, v3=v3)
    if resource.status:
        item = paths.setdefault(f"{root}/{{name}}/status", {})
        for method in ("get", "put", "patch"):
            item[method] = _operation(resource, method, reference, v3=v3, subresource="Status")
    for path, item in paths.items():
        item["parameters"] = list(_parameters(path, v3=v3))
    return paths


def _parameters(path: str, *, v3: bool) -> Iterator[Json]:
    for name in ("name", "namespace"):
        if f"{{{name}}}" in path:
            parameter: Json = {"name": name, "in": "path", "required": True}
            yield parameter | ({"schema": {"type": "string"}} if v3 else {"type": "string"})


def _operation(resource: AnyResource, action: str, reference: Json, *, v3: bool, subresource: str = "") -> Json:
    scope = "Namespaced" if resource.namespaced else ""
    group = resource.group.split(".")[0].title() or "Core"
    operation_id = f"{action}{group}{resource.version.title()}{scope}{resource.kind}{subresource}"
    query = [_query(name, v3=v3) for name in _QUERY.get(action, ())]
    content: Json = {"description": "OK"}
    content |= {"content": {JSON: {"schema": reference}}} if v3 else {"schema": reference}
    operation: Json = {
        "operationId": operation_id, "responses": {"200": content},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {
            "group": resource.group, "version": resource.version, "kind": resource.kind,
        },
        "parameters": query,
    }  # fmt: skip
    if action in ("post", "put", "patch"):
        if v3:
            operation["requestBody"] = {"required": True, "content": {JSON: {"schema": reference}}}
        else:
            operation["parameters"] = [{"name": "body", "in": "body", "required": True, "schema": reference}, *query]
    return operation


_WRITE_QUERY = ("dryRun", "fieldManager", "fieldValidation")
_LIST_QUERY = (
    "labelSelector",
    "fieldSelector",
    "limit",
    "continue",
    "resourceVersion",
    "resourceVersionMatch",
    "watch",
)
_QUERY: dict[str, tuple[str, ...]] = {
    "post": _WRITE_QUERY, "put": _WRITE_QUERY, "patch": (*_WRITE_QUERY, "force"), "list": _LIST_QUERY,
}  # fmt: skip
_TYPES = {"limit": "integer", "watch": "boolean", "force": "boolean"}


def _query(name: str, *, v3: bool) -> Json:
    kind: Json = {"type": _TYPES.get(name, "string"), "uniqueItems": True}
    return {"name": name, "in": "query"} | ({"schema": kind} if v3 else kind)
