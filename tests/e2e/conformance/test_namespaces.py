from __future__ import annotations

import secrets

import pytest
from real_cluster import until

from conformance.marks import upstream

pytestmark = pytest.mark.root


@upstream("[sig-api-machinery] Namespaces [Serial] should patch a Namespace [Conformance]")
def test_a_namespace_is_patched(rest, namespace):
    rest.merge(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": {"testLabel": "testValue"}}})
    assert rest.ok("GET", f"/api/v1/namespaces/{namespace}")["metadata"]["labels"]["testLabel"] == "testValue"


@upstream("[sig-api-machinery] Namespaces [Serial] should apply an update to a Namespace [Conformance]")
def test_a_namespace_is_updated(core, namespace):
    found = core.read_namespace(namespace)
    found.metadata.labels[namespace] = "updated"
    assert core.replace_namespace(namespace, found).metadata.labels[namespace] == "updated"


@upstream("[sig-api-machinery] Namespaces [Serial] should apply changes to a namespace status [Conformance]")
def test_the_status_of_a_namespace_is_read_patched_and_updated(rest, namespace):
    path = f"/api/v1/namespaces/{namespace}/status"
    assert rest.ok("GET", path)["status"]["phase"] == "Active"
    patched = {"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "Set by a patch"}
    after = rest.merge(
        path, {"metadata": {"annotations": {"e2e-patched": "true"}}, "status": {"conditions": [patched]}}
    )
    assert patched.items() <= after["status"]["conditions"][0].items()
    after["status"]["conditions"].append(
        {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set by an update"}
    )
    updated = rest.ok("PUT", path, after)
    assert [c["type"] for c in updated["status"]["conditions"]] == ["StatusPatch", "StatusUpdate"]


@upstream("[sig-api-machinery] OrderedNamespaceDeletion namespace deletion should delete pod first [Conformance]")
def test_pods_go_before_the_rest_of_a_namespace(rest, cluster):
    name = f"ordered-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    until(lambda: cluster.kubectl("-n", name, "get", "sa", "default", "--ignore-not-found"), "an account")
    pods, maps = f"/api/v1/namespaces/{name}/pods", f"/api/v1/namespaces/{name}/configmaps"
    spec = {"containers": [{"name": "c", "image": "none", "imagePullPolicy": "Never"}]}
    rest.ok("POST", pods, {"metadata": {"name": "p", "finalizers": ["e2e.example.com/finalizer"]}, "spec": spec})
    rest.ok("POST", maps, {"metadata": {"name": "m"}})
    rest.ok("DELETE", f"/api/v1/namespaces/{name}")

    def left(kind: str, obj: dict) -> bool:
        conditions = {c["type"]: c for c in obj["status"].get("conditions", ())}
        return conditions.get("NamespaceDeletionContentFailure", {}).get("status") == "False" or (
            "NamespaceFinalizersRemaining" in conditions
        )

    rest.watch_until("/api/v1/namespaces", left, fieldSelector=f"metadata.name={name}")
    assert rest("GET", f"{maps}/m").code == 200
    assert rest.ok("GET", f"{pods}/p")["metadata"]["deletionTimestamp"]
    rest.merge(f"{pods}/p", {"metadata": {"finalizers": None}})
    rest.until(f"/api/v1/namespaces/{name}", lambda answer: answer.code == 404)
