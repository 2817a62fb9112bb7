"""Webhooks over real TLS: by URL and by Service, trusted and not, slow and gone."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from served import SERVICE_NAME, Served, listening, served

from tiphys.main.cluster import host_address

_CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
_MAPS = "/api/v1/namespaces/default/configmaps"


@dataclass
class Hook:
    """A webhook server that labels what it sees; `paths` are those it was asked by, `hosts` the Host headers."""

    port: int = 0
    paths: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    denied: Any = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.paths.append(request.path_qs)
        self.hosts.append(request.headers["Host"])
        self.connections.add(request.transport)
        self.asked.set()
        if request.path == "/hang":
            try:
                await asyncio.Event().wait()
            finally:
                self.gone.set()
        if request.path == "/moved":
            raise web.HTTPFound("/label")
        if request.path == "/deny":
            self.denied = orjson.loads(await request.read())["request"]
            refusal = {"uid": self.denied["uid"], "allowed": False, "status": {"message": "not in here", "code": 403}}
            body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": refusal}
            return web.json_response(body)
        if request.path == "/endless":
            answer = web.StreamResponse()
            await answer.prepare(request)
            while True:
                await answer.write(b" " * 1024 * 1024)
        review = orjson.loads(await request.read())
        patch = [{"op": "add", "path": "/metadata/labels", "value": {"hooked": "yes"}}]
        response = {
            "uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch",
            "patch": base64.b64encode(orjson.dumps(patch)).decode(),
        }  # fmt: skip
        body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        return web.Response(body=orjson.dumps(body), content_type="application/json")


@dataclass
class Setup:
    server: Served
    hook: Hook

    def url(self, path: str) -> dict[str, Any]:
        return {"url": f"https://127.0.0.1:{self.hook.port}{path}", "caBundle": self.server.bundle}

    async def configure(self, client: dict[str, Any], **more: Any) -> None:
        rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
        webhook = {
            "name": "label.example.com", "clientConfig": client, "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "rules": [rule],
        }  # fmt: skip
        await self.server.ok("POST", _CONFIGURATIONS, {"metadata": {"name": "label"}, "webhooks": [webhook | more]})


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    async with AsyncExitStack() as stack:
        server, hook = await stack.enter_async_context(served(tmp_path)), Hook()
        hook.port = await stack.enter_async_context(listening(hook, server.pki.server_tls("server"), "0.0.0.0"))
        yield Setup(server, hook)


async def test_a_webhook_by_url_over_a_connection_that_is_kept(setup: Setup) -> None:
    await setup.configure(setup.url("/label"))
    for name in ("a", "b", "c"):
        made = await setup.server.ok("POST", _MAPS, {"metadata": {"name": name}})
        assert made["metadata"]["labels"] == {"hooked": "yes"}
    assert setup.hook.paths == ["/label?timeout=10s"] * 3
    assert len(setup.hook.connections) == 1


async def test_a_webhook_by_service_must_prove_its_name(setup: Setup) -> None:
    service = {"metadata": {"name": "hooks"}, "spec": {"ports": [{"name": "https", "port": 8443}]}}
    await setup.server.ok("POST", "/api/v1/namespaces/default/services", service)
    slice_ = {
        "metadata": {"name": "hooks-1", "labels": {"kubernetes.io/service-name": "hooks"}}, "addressType": "IPv4",
        "endpoints": [{"addresses": [host_address()], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": setup.hook.port, "protocol": "TCP"}],
    }  # fmt: skip
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    await setup.server.ok("POST", slices, slice_)
    config = {"namespace": "default", "name": "hooks", "port": 8443, "path": "/label"}
    await setup.configure({"service": config, "caBundle": setup.server.bundle})
    made = await setup.server.ok("POST", _MAPS, {"metadata": {"name": "a"}})
    assert made["metadata"]["labels"] == {"hooked": "yes"}
    assert setup.hook.hosts == [f"{SERVICE_NAME}:8443"]
    slice_["endpoints"][0]["conditions"]["ready"] = False
    await setup.server.ok("PUT", f"{slices}/hooks-1", slice_)
    code, answer = await setup.server("POST", _MAPS, {"metadata": {"name": "b"}})
    assert code == 500
    assert answer["message"].endswith('no endpoints available for service "hooks"')


async def test_a_server_that_is_not_trusted_is_not_asked(setup: Setup) -> None:
    await setup.configure({"url": f"https://127.0.0.1:{setup.hook.port}/label"})
    code, answer = await setup.server("POST", _MAPS, {"metadata": {"name": "a"}})
    assert code == 500
    assert "certificate" in answer["message"]
    assert setup.hook.paths == []


async def test_a_webhook_that_hangs_is_given_up_and_holds_up_nothing_else(setup: Setup) -> None:
    await setup.configure(setup.url("/hang"), timeoutSeconds=1)
    stuck = asyncio.create_task(setup.server("POST", _MAPS, {"metadata": {"name": "a"}}))
    await setup.hook.asked.wait()
    await setup.server.ok("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}})
    assert not stuck.done()
    code, answer = await stuck
    assert code == 500
    assert answer["message"].endswith('/hang?timeout=1s": context deadline exceeded')
    await setup.hook.gone.wait()


@pytest.mark.parametrize(("path", "why"), [("/moved", "status 302"), ("/endless", "larger than")])
async def test_redirects_are_not_followed_and_answers_are_bounded(setup: Setup, path: str, why: str) -> None:
    await setup.configure(setup.url(path))
    code, answer = await setup.server("POST", _MAPS, {"metadata": {"name": "a"}})
    assert code == 500
    assert why in answer["message"]
    assert len(setup.hook.paths) == 1


async def test_nobody_there(setup: Setup) -> None:
    await setup.configure({"url": "https://127.0.0.1:1/label", "caBundle": setup.server.bundle})
    code, answer = await setup.server("POST", _MAPS, {"metadata": {"name": "a"}})
    assert code == 500
    assert answer["message"].startswith(
        'Internal error occurred: failed calling webhook "label.example.com": failed to call webhook: Post '
    )


async def test_going_into_a_container_can_be_refused(setup: Setup) -> None:
    await setup.server.ok("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    pods = "/api/v1/namespaces/default/pods"
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "busybox"}]}}
    await setup.server.ok("POST", pods, pod)
    rule = {"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/exec"]}
    await setup.configure(setup.url("/deny"), rules=[rule])
    code, answer = await setup.server("POST", f"{pods}/p/exec", container="main", command="sh", stdin="true")
    assert code == 403
    assert answer["message"] == 'admission webhook "label.example.com" denied the request: not in here'
    request = setup.hook.denied
    assert (request["operation"], request["subResource"], request["name"]) == ("CONNECT", "exec", "p")
    assert request["object"] == {
        "kind": "PodExecOptions", "apiVersion": "v1", "stdin": True, "container": "main", "command": ["sh"],
    }  # fmt: skip
