"""Who may ask a kubelet what: certificates and tokens, as the API server's RBAC has it."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from simulation import Simulation, simulation

from tiphys.api.errors import ServiceUnavailable
from tiphys.kinds.core.serviceaccount import SERVICE_ACCOUNTS
from tiphys.kinds.rbac.clusterrole import CLUSTER_ROLES
from tiphys.kinds.rbac.clusterrolebinding import CLUSTER_ROLE_BINDINGS
from tiphys.kubelet.server.access import Access


class Caller:
    def __init__(self, kube: Simulation) -> None:
        self.access = Access(kube.client, "n1", kube.clock)
        self.kube = kube

    async def ask(self, path: str, token: str = "", subject: tuple[Any, ...] = (), method: str = "GET") -> int:
        """The status; 200 if it was let through."""
        transport = mock.Mock()
        transport.get_extra_info = lambda name, default=None: {"subject": subject} if name == "peercert" else default
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = make_mocked_request(method, path, headers=headers, transport=transport)

        async def through(request: web.Request) -> web.StreamResponse:
            return web.Response(status=200)

        return (await self.access.guard(request, through)).status

    async def token(self) -> str:
        body = {"spec": {"audiences": [], "expirationSeconds": 3600}}
        made = await self.kube.client.of(SERVICE_ACCOUNTS).create_json(
            {"metadata": {"name": "default", "namespace": "default"}, **body}, subresource="token"
        )
        found: str = made["status"]["token"]
        return found

    async def allow(self, *resources: str) -> None:
        rule = {"apiGroups": [""], "resources": list(resources), "verbs": ["get"]}
        await self.kube.client.of(CLUSTER_ROLES).create_json({"metadata": {"name": "reader"}, "rules": [rule]})
        await self.kube.client.of(CLUSTER_ROLE_BINDINGS).create_json({
            "metadata": {"name": "reader"}, "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
        })  # fmt: skip


def named(common_name: str, *organizations: str) -> tuple[Any, ...]:
    return ((("commonName", common_name),), *((("organizationName", each),) for each in organizations))


async def test_nobody_is_not_let_in() -> None:
    async with simulation() as kube:
        caller = Caller(kube)
        assert await caller.ask("/metrics") == 401
        assert await caller.ask("/healthz") == 401
        assert await caller.ask("/metrics", token="nonsense") == 401


async def test_the_api_server_and_administrators_may_do_anything() -> None:
    async with simulation() as kube:
        caller = Caller(kube)
        for subject in (named("kube-apiserver-kubelet-client"), named("admin", "system:masters")):
            assert await caller.ask("/exec/default/p/main", subject=subject, method="POST") == 200
        assert await caller.ask("/metrics", subject=named("system:node:n2", "system:nodes")) == 403


@pytest.mark.parametrize(
    ("allowed", "paths", "refused"),
    [
        (["nodes/metrics"], ["/metrics", "/metrics/cadvisor", "/metrics/resource"], ["/stats/summary", "/pods"]),
        (["nodes/stats"], ["/stats/summary"], ["/metrics", "/healthz"]),
        (["nodes/pods", "nodes/healthz"], ["/pods", "/healthz"], ["/exec/default/p/main", "/metrics"]),
        (["nodes/proxy"], ["/pods", "/healthz", "/containerLogs/default/p/main"], ["/metrics", "/stats/summary"]),
    ],
)
async def test_a_token_may_what_its_roles_say(allowed: list[str], paths: list[str], refused: list[str]) -> None:
    async with simulation() as kube:
        caller = Caller(kube)
        await caller.allow(*allowed)
        token = await caller.token()
        assert {path: await caller.ask(path, token) for path in paths} == dict.fromkeys(paths, 200)
        assert {path: await caller.ask(path, token) for path in refused} == dict.fromkeys(refused, 403)
        assert await caller.ask(paths[0], token, method="POST") == 403


async def test_answers_hold_for_a_while_and_then_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with simulation() as kube:
        caller = Caller(kube)
        token = await caller.token()
        assert await caller.ask("/metrics", token) == 403
        await caller.allow("nodes/metrics")
        assert await caller.ask("/metrics", token) == 403
        await kube.after(31)
        assert await caller.ask("/metrics", token) == 200

        async def unreachable(*_: Any, **__: Any) -> bytes:
            raise ServiceUnavailable("no")

        monkeypatch.setattr(kube.client.transport, "send", unreachable)
        assert await caller.ask("/metrics", token) == 200
        assert await caller.ask("/stats/summary", token) == 500
        assert await caller.ask("/pods", subject=named("kube-apiserver-kubelet-client")) == 200
