"""Discovery and OpenAPI name everything that is served."""

from __future__ import annotations

from tiphys.server.discovery import aggregated

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def test_legacy_discovery_names_groups_versions_and_resources(api):
    groups = {group["name"]: group for group in (await api.ok("GET", "/apis"))["groups"]}
    assert {"apps", "batch", "rbac.authorization.k8s.io", "apiextensions.k8s.io"} <= groups.keys()
    assert groups["autoscaling"]["preferredVersion"]["version"] == "v2"
    listed = {r["name"]: r for r in (await api.ok("GET", "/api/v1"))["resources"]}
    assert listed["pods"]["shortNames"] == ["po"]
    assert listed["pods/exec"]["kind"] == "PodExecOptions"
    assert listed["pods/eviction"]["group"] == "policy"
    assert listed["namespaces"]["namespaced"] is False


async def test_aggregated_discovery_says_the_same(api):
    response = await api.respond("GET", "/apis", accept=AGGREGATED)
    assert response.content_type.startswith("application/json;g=apidiscovery.k8s.io")
    assert response.headers["ETag"]
    body = (await api.ok("GET", "/apis", accept=AGGREGATED))["items"]
    apps = next(item for item in body if item["metadata"]["name"] == "apps")
    deployments = next(r for r in apps["versions"][0]["resources"] if r["resource"] == "deployments")
    assert {s["subresource"] for s in deployments["subresources"]} == {"status", "scale"}


async def test_openapi_describes_every_kind(api):
    index = await api.ok("GET", "/openapi/v3")
    assert "apis/apps/v1" in index["paths"]
    document = await api.ok("GET", "/openapi/v3/apis/apps/v1")
    schema = document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"]
    assert schema["x-kubernetes-group-version-kind"] == [{"group": "apps", "version": "v1", "kind": "Deployment"}]
    paths = document["paths"]
    assert "/apis/apps/v1/namespaces/{namespace}/deployments/{name}" in paths
    old = await api.ok("GET", "/openapi/v2")
    assert old["definitions"]["io.k8s.api.core.v1.Pod"]["properties"]["spec"]


def test_a_subresource_of_nothing_is_kept_under_a_parent_that_clients_pass_over():
    entry = {"name": "pods/requests", "singularName": "", "namespaced": True, "kind": "Value", "verbs": ["get"]}
    (parent,) = aggregated([entry], "metrics.test", "v1")
    assert (parent["resource"], parent["verbs"], parent["responseKind"]["kind"]) == ("pods", [], "")
    (requests,) = parent["subresources"]
    kind = {"group": "metrics.test", "version": "v1", "kind": "Value"}
    assert requests == {"subresource": "requests", "responseKind": kind, "verbs": ["get"]}
