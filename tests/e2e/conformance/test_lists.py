from __future__ import annotations

import asyncio

import pytest
from kubernetes import client
from served import served

from conformance.marks import upstream
from conformance.rest import Answer, Rest

pytestmark = pytest.mark.root

TEMPLATES = "/api/v1/namespaces/default/podtemplates"
POD = {"spec": {"containers": [{"name": "test", "image": "test2"}]}}


@upstream(
    "[sig-api-machinery] Servers with support for API chunking should return chunks of results for list calls [Conformance]"
)
def test_a_list_comes_in_chunks(rest, namespace):
    templates = f"/api/v1/namespaces/{namespace}/podtemplates"
    names = [f"template-{number:04}" for number in range(400)]
    for name in names:
        rest.ok("POST", templates, {"metadata": {"name": name}, "template": POD})
    found, token, version = [], "", ""
    for limit in (15, 37, 400):
        chunk = rest.ok("GET", templates, limit=limit, **({"continue": token} if token else {}))
        found += [item["metadata"]["name"] for item in chunk["items"]]
        assert len(chunk["items"]) == min(limit, 400 - (len(found) - len(chunk["items"])))
        meta = chunk["metadata"]
        version = version or meta["resourceVersion"]
        assert meta["resourceVersion"] == version
        token = meta.get("continue", "")
        left = 400 - len(found)
        assert meta.get("remainingItemCount", 0) == left
        assert bool(token) == bool(left)
        # A write between two chunks changes nothing about the list that was begun.
        rest.merge(f"{templates}/{names[-1]}", {"metadata": {"labels": {"n": str(limit)}}})
    assert found == names
    assert len(rest.ok("GET", templates)["items"]) == 400


@upstream(
    "[sig-api-machinery] Servers with support for Table transformation should return a 406 for a backend which does not implement metadata [Conformance]"
)
def test_a_review_is_no_table(rest):
    review = {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}},
    }  # fmt: skip
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = rest("POST", path, review, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert answer.code == 406


@upstream(
    "[sig-api-machinery] Discovery should locate the groupVersion and a resource within each APIGroup [Conformance]"
)
def test_every_group_is_found_with_its_resources(rest):
    groups = rest.ok("GET", "/apis")["groups"]
    assert {"apps", "batch", "rbac.authorization.k8s.io", "apiextensions.k8s.io"} <= {g["name"] for g in groups}
    for group in groups:
        assert group["preferredVersion"] in group["versions"]
        assert rest.ok("GET", f"/apis/{group['name']}")["preferredVersion"] == group["preferredVersion"]
        for version in group["versions"]:
            assert version["groupVersion"] == f"{group['name']}/{version['version']}"
            listed = rest.ok("GET", f"/apis/{version['groupVersion']}")
            assert listed["groupVersion"] == version["groupVersion"]
            assert listed["resources"]


@upstream(
    "[sig-api-machinery] Servers with support for API chunking should support continue listing from the last key if the original version has been compacted away, though the list is inconsistent [Slow] [Conformance]"
)
async def test_a_list_goes_on_after_its_version_was_compacted(tmp_path):
    def chunk(rest: Rest, limit: int, token: str = "") -> Answer:
        return rest("GET", TEMPLATES, limit=limit, **({"continue": token} if token else {}))

    async with served(tmp_path) as server:
        settings = client.Configuration(host=server.url)
        settings.ssl_ca_cert = str(server.pki.ca)
        settings.cert_file, settings.key_file = str(server.pki.certificate("admin")), str(server.pki.key("admin"))
        rest = Rest(client.ApiClient(settings))
        for number in range(40):
            await server.ok("POST", TEMPLATES, {"metadata": {"name": f"template-{number:04}"}, "template": POD})
        first = (await asyncio.to_thread(chunk, rest, 10)).body
        store = server.assembled.cache.store
        await server.ok("DELETE", f"{TEMPLATES}/template-0039")
        await store.compact(store.revision)
        gone = await asyncio.to_thread(chunk, rest, 10, first["metadata"]["continue"])
        assert (gone.code, gone.body["reason"]) == (410, "Expired")
        token, found, versions = gone.body["metadata"]["continue"], 10, set()
        while token:
            page = (await asyncio.to_thread(chunk, rest, 10, token)).body
            found += len(page["items"])
            versions.add(page["metadata"]["resourceVersion"])
            token = page["metadata"].get("continue", "")
        assert found == 39
        assert len(versions) == 1
        assert first["metadata"]["resourceVersion"] not in versions


AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"


@upstream(
    "[sig-api-machinery] AggregatedDiscovery should support raw aggregated discovery endpoint Accept headers [Conformance]"
)
def test_discovery_is_aggregated_on_request(rest):
    for path in ("/api", "/apis"):
        answer = rest("GET", path, accept=AGGREGATED.format(version="v2"))
        assert (answer.body["kind"], answer.body["apiVersion"]) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2")
        assert "as=APIGroupDiscoveryList" in answer.headers["Content-Type"]
        for group in answer.body["items"]:
            assert all(version["freshness"] == "Current" for version in group["versions"])
            assert all(version["resources"] for version in group["versions"])
    assert rest.ok("GET", "/apis")["kind"] == "APIGroupList"
    found = {
        g["metadata"].get("name"): g for g in rest.ok("GET", "/apis", accept=AGGREGATED.format(version="v2"))["items"]
    }
    deployments = next(r for r in found["apps"]["versions"][0]["resources"] if r["resource"] == "deployments")
    assert {s["subresource"] for s in deployments["subresources"]} == {"status", "scale"}


@upstream(
    "[sig-api-machinery] AggregatedDiscovery should support raw aggregated discovery request for CRDs [Conformance]"
)
def test_a_custom_resource_is_in_aggregated_discovery(rest, crds, group):
    crds(custom(group, "foos", "Foo"))
    answer = rest.until(
        "/apis",
        lambda a: group in {g["metadata"]["name"] for g in a.body["items"]},
        accept=AGGREGATED.format(version="v2"),
    )
    found = next(g for g in answer.body["items"] if g["metadata"]["name"] == group)
    assert [r["resource"] for r in found["versions"][0]["resources"]] == ["foos"]


def custom(group: str, plural: str, kind: str) -> dict:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [version]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"}, "spec": spec,
    }  # fmt: skip


@upstream(
    "[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] should include custom resource definition resources in discovery documents [Conformance]"
)
def test_definitions_are_in_the_discovery_documents(rest):
    groups = {g["name"]: g for g in rest.ok("GET", "/apis")["groups"]}
    assert {"groupVersion": "apiextensions.k8s.io/v1", "version": "v1"} in groups["apiextensions.k8s.io"]["versions"]
    versions = rest.ok("GET", "/apis/apiextensions.k8s.io")["versions"]
    assert {"groupVersion": "apiextensions.k8s.io/v1", "version": "v1"} in versions
    names = {r["name"] for r in rest.ok("GET", "/apis/apiextensions.k8s.io/v1")["resources"]}
    assert {"customresourcedefinitions", "customresourcedefinitions/status"} <= names


@upstream(
    "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should include webhook resources in discovery documents [Conformance]"
)
def test_webhook_configurations_are_in_the_discovery_documents(rest):
    groups = {g["name"]: g for g in rest.ok("GET", "/apis")["groups"]}
    name = "admissionregistration.k8s.io"
    assert {"groupVersion": f"{name}/v1", "version": "v1"} in groups[name]["versions"]
    assert {"groupVersion": f"{name}/v1", "version": "v1"} in rest.ok("GET", f"/apis/{name}")["versions"]
    names = {r["name"] for r in rest.ok("GET", f"/apis/{name}/v1")["resources"]}
    assert {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"} <= names
