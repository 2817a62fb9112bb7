"""Admission on a real cluster, through the machine's kubectl: webhooks, quotas, limits and pod security."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from real_cluster import IMAGE, RealCluster, until
from served import listening

from tiphys.main.pki import Leaf, Pki

pytestmark = pytest.mark.root


class Denier:
    """A webhook server in a thread that refuses everything, with the subresource in its words."""

    def __init__(self, pki: Pki) -> None:
        self._pki = pki
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    async def _serve(self) -> None:
        async with listening(self._answer, self._pki.server_tls("server")) as self.port:
            self._ready.set()
            await self._stop.wait()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = json.loads(await request.read())["request"]
        status = {"code": 403, "message": f"no {asked.get('subResource') or asked['operation']} here"}
        response = {"uid": asked["uid"], "allowed": False, "status": status}
        body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        return web.json_response(body)

    def __enter__(self) -> Denier:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def denied(cluster: RealCluster, namespace: str, tmp_path: Path) -> Iterator[str]:
    """The namespace, in which a webhook refuses connections to pods and services that are made."""
    pki = Pki(tmp_path / "pki")
    pki.ensure("test", {"server": Leaf("server", names=("127.0.0.1",))})
    name = f"deny-{secrets.token_hex(3)}"
    with Denier(pki) as denier:
        url = {
            "url": f"https://127.0.0.1:{denier.port}/deny",
            "caBundle": base64.b64encode(pki.ca.read_bytes()).decode(),
        }
        rule = {"apiGroups": [""], "apiVersions": ["v1"]}
        rules = [
            rule | {"operations": ["CONNECT"], "resources": ["pods/exec", "pods/attach", "pods/portforward"]},
            rule | {"operations": ["CREATE"], "resources": ["services"]},
        ]
        webhook = {
            "name": "deny.example.com", "clientConfig": url, "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "rules": rules,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        }  # fmt: skip
        body: Any = {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name}, "webhooks": [webhook],
        }  # fmt: skip
        cluster.kubectl("create", "-f", "-", stdin=json.dumps(body))
        yield namespace
        cluster.kubectl("delete", "validatingwebhookconfiguration", name)


def refused(cluster: RealCluster, *words: str) -> str:
    with pytest.raises(AssertionError) as caught:
        cluster.kubectl(*words)
    return str(caught.value)


def test_a_webhook_keeps_kubectl_out_of_a_pod(cluster: RealCluster, denied: str) -> None:
    cluster.kubectl("-n", denied, "run", "p", f"--image={IMAGE}")
    cluster.kubectl("-n", denied, "wait", "pod/p", "--for=condition=Ready", "--timeout=60s")
    denial = 'admission webhook "deny.example.com" denied the request'
    assert f"{denial}: no exec here" in refused(cluster, "-n", denied, "exec", "p", "--", "ls")
    assert f"{denial}: no attach here" in refused(cluster, "-n", denied, "attach", "p")
    assert f"{denial}: no CREATE here" in refused(
        cluster, "-n", denied, "create", "service", "clusterip", "s", "--tcp=80"
    )
    # The namespace selector leaves others alone.
    cluster.kubectl("create", "service", "clusterip", f"s-{denied}", "--tcp=80", "--dry-run=server")


def test_a_quota_follows_the_life_of_a_pod(cluster: RealCluster, namespace: str) -> None:
    def used() -> Any:
        found = json.loads(cluster.kubectl("-n", namespace, "get", "quota", "q", "-o", "json"))
        return (found.get("status") or {}).get("used")

    cluster.kubectl("-n", namespace, "create", "quota", "q", "--hard=pods=1,requests.cpu=1,resourcequotas=1")
    until(lambda: used() == {"pods": "0", "requests.cpu": "0", "resourcequotas": "1"}, "the quota counted")
    spec = {"containers": [{"name": "c", "image": IMAGE, "resources": {"requests": {"cpu": "100m"}}}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    cluster.kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(pod))
    assert used() == {"pods": "1", "requests.cpu": "100m", "resourcequotas": "1"}
    pod["metadata"] = {"name": "second"}
    with pytest.raises(AssertionError, match="exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"):
        cluster.kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(pod))
    cluster.kubectl("-n", namespace, "delete", "pod", "p", "--grace-period=1")
    until(lambda: used() == {"pods": "0", "requests.cpu": "0", "resourcequotas": "1"}, "what the pod used given back")


def test_a_namespace_is_restricted_by_a_label(cluster: RealCluster, namespace: str) -> None:
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    said = refused(cluster, "-n", namespace, "run", "p", f"--image={IMAGE}")
    assert 'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false' in said


def test_this_servers_api_services_are_available(cluster: RealCluster) -> None:
    found = json.loads(cluster.kubectl("get", "apiservices", "-o", "json"))["items"]
    assert {"v1.", "v1.apps", "v1.apiregistration.k8s.io"} <= {item["metadata"]["name"] for item in found}
    conditions = [condition for item in found for condition in item["status"]["conditions"]]
    assert {(c["type"], c["status"], c["reason"]) for c in conditions} == {("Available", "True", "Local")}
