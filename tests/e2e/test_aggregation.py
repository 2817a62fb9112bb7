"""API aggregation with a real extension API server: TLS, front-proxy headers, discovery, watches, upgrades, failure."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import WSMsgType, web
from served import Served, listening, served

from tiphys.main.cluster import host_address

GROUP = "/apis/wardle.example.com/v1alpha1"
FLUNDERS = f"{GROUP}/namespaces/default/flunders"
SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
NAME = "v1alpha1.wardle.example.com"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@dataclass
class Extension:
    """Serves flunders and believes nobody but the front proxy; `asked` are its requests with who asked."""

    asked: list[tuple[str, str, str, list[str]]] = field(default_factory=list)
    events: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        groups = request.headers.getall("X-Remote-Group", [])
        user = request.headers.get("X-Remote-User", "")
        self.asked.append((request.method, request.path_qs, user, groups))
        assert "Authorization" not in request.headers
        if request.path == GROUP:
            resource = {
                "name": "flunders", "singularName": "flunder", "namespaced": True, "kind": "Flunder",
                "verbs": ["create", "get", "list", "watch"], "shortNames": ["fl"],
            }  # fmt: skip
            body = {"kind": "APIResourceList", "groupVersion": "wardle.example.com/v1alpha1", "resources": [resource]}
            return web.json_response(body)
        if request.path == "/openapi/v2":
            paths = {f"{GROUP}/flunders": {}, "/apis/apps/v1/deployments": {}}
            return web.json_response({"swagger": "2.0", "paths": paths, "definitions": {"com.example.Flunder": {}}})
        if request.path.startswith("/openapi/v3/"):
            return web.json_response({"openapi": "3.0.0", "info": {"title": "wardle"}, "paths": {}})
        if request.path.endswith("/tunnel"):
            return await self._echo(request)
        if request.query.get("watch") == "true":
            return await self._watch(request)
        if request.method == "POST":
            return web.json_response(orjson.loads(await request.read()), status=201)
        if request.path == FLUNDERS:
            return web.json_response({"kind": "FlunderList", "metadata": {}, "items": []})
        return web.json_response({"kind": "Status", "code": 404, "reason": "NotFound"}, status=404)

    async def _echo(self, request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await socket.send_str(f"heard {message.data}")
        return socket

    async def _watch(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        while True:
            event = await self.events.get()
            await answer.write(orjson.dumps(event) + b"\n")


@dataclass
class Setup:
    server: Served
    extension: Extension
    stop: Callable[[], Any]

    async def available(self, status: str, reason: str) -> Any:
        """Wait until the APIService says so."""
        return await self.until(NAME, lambda c: (c["status"], c["reason"]) == (status, reason))

    async def until(self, name: str, wanted: Callable[[Any], bool]) -> Any:
        last: Any = None
        try:
            async with asyncio.timeout(60):
                while True:
                    listed = await self.server.ok("GET", SERVICES)
                    version = listed["metadata"]["resourceVersion"]
                    for item in listed["items"]:
                        if item["metadata"]["name"] == name:
                            last = (item.get("status") or {}).get("conditions")
                            for condition in last or ():
                                if wanted(condition):
                                    return condition
                    url = f"{self.server.url}{SERVICES}?watch=true&resourceVersion={version}"
                    async with self.server.session.get(url) as events:
                        await events.content.readline()
        except TimeoutError:
            raise AssertionError(f"{name} did not become as wanted: {last}") from None

    async def register(self, **more: Any) -> None:
        spec = {
            "group": "wardle.example.com", "version": "v1alpha1", "groupPriorityMinimum": 2000, "versionPriority": 200,
            "service": {"namespace": "default", "name": "hooks"}, "caBundle": self.server.bundle,
        }  # fmt: skip
        await self.server.ok("POST", SERVICES, {"metadata": {"name": NAME}, "spec": spec | more})

    async def serve(self, port: int) -> None:
        service = {"metadata": {"name": "hooks"}, "spec": {"ports": [{"name": "https", "port": 443}]}}
        await self.server.ok("POST", "/api/v1/namespaces/default/services", service)
        slice_ = {
            "metadata": {"name": "hooks-1", "labels": {"kubernetes.io/service-name": "hooks"}}, "addressType": "IPv4",
            "endpoints": [{"addresses": [host_address()], "conditions": {"ready": True}}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }  # fmt: skip
        await self.server.ok("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice_)


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    async with served(tmp_path) as server, AsyncExitStack() as stack:
        pki, extension = server.pki, Extension()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pki.certificate("server"), pki.key("server"))
        tls.load_verify_locations(pki.front_proxy_ca)
        tls.verify_mode = ssl.CERT_REQUIRED
        port = await stack.enter_async_context(listening(extension, tls, "0.0.0.0"))
        made = Setup(server, extension, stack.aclose)
        await made.serve(port)
        yield made


async def test_requests_go_to_the_other_server_with_who_asks(setup: Setup) -> None:
    await setup.register()
    await setup.available("True", "Passed")
    assert (await setup.server.ok("GET", FLUNDERS))["kind"] == "FlunderList"
    body = {"kind": "Flunder", "metadata": {"name": "f"}}
    assert await setup.server.ok("POST", FLUNDERS, body, dryRun="All") == body
    code, _ = await setup.server("GET", f"{FLUNDERS}/none")
    assert code == 404
    asked = [(method, path, user) for method, path, user, _ in setup.extension.asked if "flunders" in path]
    assert asked == [
        ("GET", FLUNDERS, "admin"), ("POST", f"{FLUNDERS}?dryRun=All", "admin"), ("GET", f"{FLUNDERS}/none", "admin"),
    ]  # fmt: skip
    assert {"system:masters", "system:authenticated"} <= set(setup.extension.asked[-1][3])


async def test_it_is_discovered(setup: Setup) -> None:
    await setup.register()
    await setup.available("True", "Passed")
    groups = {group["name"]: group for group in (await setup.server.ok("GET", "/apis"))["groups"]}
    assert groups["wardle.example.com"]["preferredVersion"]["version"] == "v1alpha1"
    assert (await setup.server.ok("GET", "/apis/wardle.example.com"))["kind"] == "APIGroup"
    assert (await setup.server.ok("GET", GROUP))["resources"][0]["name"] == "flunders"
    found = await aggregated(setup)
    assert (found["freshness"], found["resources"][0]["resource"]) == ("Current", "flunders")
    index = (await setup.server.ok("GET", "/openapi/v3"))["paths"]
    assert "apis/wardle.example.com/v1alpha1" in index
    document = await setup.server.ok("GET", "/openapi/v3/apis/wardle.example.com/v1alpha1")
    assert document["info"]["title"] == "wardle"
    merged = await setup.server.ok("GET", "/openapi/v2")
    assert f"{GROUP}/flunders" in merged["paths"]
    assert "/apis/apps/v1/deployments" not in merged["paths"]
    assert "com.example.Flunder" in merged["definitions"]


async def aggregated(setup: Setup) -> Any:
    async with setup.server.session.get(f"{setup.server.url}/apis", headers={"Accept": AGGREGATED}) as answer:
        items = orjson.loads(await answer.read())["items"]
    (group,) = [item for item in items if item["metadata"]["name"] == "wardle.example.com"]
    return group["versions"][0]


async def test_watches_stream(setup: Setup) -> None:
    await setup.register()
    await setup.available("True", "Passed")
    async with setup.server.session.get(f"{setup.server.url}{FLUNDERS}?watch=true") as events:
        for name in ("a", "b"):
            event = {"type": "ADDED", "object": {"metadata": {"name": name}}}
            setup.extension.events.put_nowait(event)
            assert orjson.loads(await events.content.readline()) == event


async def test_upgraded_connections_go_through(setup: Setup) -> None:
    await setup.register()
    await setup.available("True", "Passed")
    async with setup.server.session.ws_connect(f"{setup.server.url}{FLUNDERS}/f/tunnel") as socket:
        await socket.send_str("hello")
        assert (await socket.receive_str(timeout=10)) == "heard hello"


async def test_a_server_that_fails_takes_only_its_own_group_along(setup: Setup) -> None:
    await setup.register()
    await setup.available("True", "Passed")
    await setup.stop()
    code, answer = await setup.server("GET", FLUNDERS)
    assert (code, answer["reason"]) == (503, "ServiceUnavailable")
    await setup.server.ok("GET", "/api/v1/namespaces/default/pods")
    # Something about its endpoints changes, so it is looked at again at once.
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    found = await setup.server.ok("GET", f"{slices}/hooks-1")
    found["metadata"]["labels"]["seen"] = "again"
    await setup.server.ok("PUT", f"{slices}/hooks-1", found)
    await setup.available("False", "FailedDiscoveryCheck")
    assert (await aggregated(setup))["freshness"] == "Stale"
    found["endpoints"][0]["conditions"]["ready"] = False
    del found["metadata"]["resourceVersion"]
    await setup.server.ok("PUT", f"{slices}/hooks-1", found)
    await setup.available("False", "MissingEndpoints")
    await setup.server.ok("DELETE", f"{slices}/hooks-1")
    await setup.available("False", "EndpointsNotFound")
    await setup.server.ok("DELETE", "/api/v1/namespaces/default/services/hooks")
    await setup.available("False", "ServiceNotFound")
    await setup.server.ok("DELETE", f"{SERVICES}/{NAME}")
    assert (await setup.server("GET", FLUNDERS))[0] == 404


async def test_a_server_must_prove_who_it_is_unless_told_otherwise(setup: Setup) -> None:
    await setup.register(caBundle=base64.b64encode(setup.server.pki.front_proxy_ca.read_bytes()).decode())
    condition = await setup.available("False", "FailedDiscoveryCheck")
    assert "certificate" in condition["message"]
    await setup.server.ok("DELETE", f"{SERVICES}/{NAME}")
    await setup.register(caBundle=None, insecureSkipTLSVerify=True)
    await setup.available("True", "Passed")


async def test_what_this_server_serves_has_api_services_too(setup: Setup) -> None:
    for name in ("v1.", "v1.apps"):
        condition = await setup.until(name, lambda c: c["status"] == "True")
        assert condition["reason"] == "Local"
    version = {
        "name": "v1", "served": True, "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }  # fmt: skip
    names = {"plural": "ships", "kind": "Ship"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await setup.server.ok("POST", definitions, {"metadata": {"name": "ships.example.com"}, "spec": spec})
    await setup.until("v1.example.com", lambda c: c["reason"] == "Local")
    await setup.server.ok("DELETE", f"{definitions}/ships.example.com")
    async with asyncio.timeout(30):
        url = f"{setup.server.url}{SERVICES}?watch=true&resourceVersion=0&fieldSelector=metadata.name=v1.example.com"
        async with setup.server.session.get(url) as events:
            while orjson.loads(await events.content.readline())["type"] != "DELETED":
                pass
