from __future__ import annotations

import pytest
from real_cluster import IMAGE

from conformance.marks import upstream

pytestmark = pytest.mark.root

HARD = {
    "pods": "5", "services": "10", "replicationcontrollers": "10", "resourcequotas": "1", "cpu": "1", "memory": "500Mi",
    "configmaps": "10", "secrets": "10", "persistentvolumeclaims": "10", "requests.storage": "10Gi",
    "ephemeral-storage": "50Gi", "requests.example.com/dongle": "3", "count/replicasets.apps": "5",
}  # fmt: skip
EXTENDED = "example.com/dongle"


class Quotas:
    def __init__(self, rest, namespace: str) -> None:
        self.rest, self.path = rest, f"/api/v1/namespaces/{namespace}"

    def make(self, name: str = "quota", hard: dict | None = None, **spec) -> None:
        body = {"metadata": {"name": name, "labels": {"e2e": "quota"}}, "spec": {"hard": hard or HARD, **spec}}
        self.rest.ok("POST", f"{self.path}/resourcequotas", body)

    def uses(self, name: str = "quota", **wanted: str) -> None:
        """Wait until the quota's status says so."""

        def done(kind: str, obj: dict) -> bool:
            used = obj.get("status", {}).get("used", {})
            return all(used.get(key) == value for key, value in wanted.items())

        self.rest.watch_until(f"{self.path}/resourcequotas", done, fieldSelector=f"metadata.name={name}")

    def used(self, name: str = "quota") -> dict:
        return self.rest.ok("GET", f"{self.path}/resourcequotas/{name}")["status"]["used"]

    def pod(self, name: str, requests: dict | None = None, limits: dict | None = None, **spec):
        resources = {key: value for key, value in (("requests", requests), ("limits", limits)) if value}
        container = {"name": "c", "image": IMAGE, "resources": resources}
        # No node has it, so that it stays as it is.
        body = {"metadata": {"name": name}, "spec": {"containers": [container], "nodeSelector": {"x": "y"}, **spec}}
        return self.rest("POST", f"{self.path}/pods", body)

    def gone(self, path: str) -> None:
        self.rest.ok("DELETE", f"{self.path}/{path}", gracePeriodSeconds="0")


@pytest.fixture
def quotas(rest, namespace):
    return Quotas(rest, namespace)


@upstream(
    "[sig-api-machinery] ResourceQuota should create a ResourceQuota and ensure its status is promptly calculated. [Conformance]"
)
def test_the_status_is_there_at_once(quotas):
    quotas.make()
    quotas.uses(pods="0", cpu="0", memory="0", resourcequotas="1")
    status = quotas.rest.ok("GET", f"{quotas.path}/resourcequotas/quota")["status"]
    assert status["hard"] == HARD
    assert set(status["used"]) == set(HARD)


@upstream(
    "[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a configMap. [Conformance]"
)
def test_config_maps_count(quotas):
    quotas.make()
    quotas.uses(resourcequotas="1")
    before = int(quotas.used()["configmaps"])
    quotas.rest.ok("POST", f"{quotas.path}/configmaps", {"metadata": {"name": "m"}, "data": {"a": "b"}})
    quotas.uses(configmaps=str(before + 1))
    quotas.gone("configmaps/m")
    quotas.uses(configmaps=str(before))


@upstream(
    "[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a secret. [Conformance]"
)
def test_secrets_count(quotas):
    quotas.make()
    quotas.uses(resourcequotas="1", secrets="0")
    quotas.rest.ok("POST", f"{quotas.path}/secrets", {"metadata": {"name": "s"}, "stringData": {"a": "b"}})
    quotas.uses(secrets="1")
    quotas.gone("secrets/s")
    quotas.uses(secrets="0")


@upstream(
    "[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a replication controller. [Conformance]"
)
def test_replication_controllers_count(quotas):
    quotas.make()
    quotas.uses(replicationcontrollers="0")
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": IMAGE}]}}
    spec = {"replicas": 0, "selector": {"a": "b"}, "template": template}
    quotas.rest.ok("POST", f"{quotas.path}/replicationcontrollers", {"metadata": {"name": "rc"}, "spec": spec})
    quotas.uses(replicationcontrollers="1")
    quotas.rest.ok("DELETE", f"{quotas.path}/replicationcontrollers/rc", {"propagationPolicy": "Orphan"})
    quotas.uses(replicationcontrollers="0")


@upstream(
    "[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a replica set. [Conformance]"
)
def test_replica_sets_count(quotas, namespace):
    quotas.make()
    quotas.uses(**{"count/replicasets.apps": "0"})
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": IMAGE}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    sets = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
    quotas.rest.ok("POST", sets, {"metadata": {"name": "rs"}, "spec": spec})
    quotas.uses(**{"count/replicasets.apps": "1"})
    quotas.rest.ok("DELETE", f"{sets}/rs")
    quotas.uses(**{"count/replicasets.apps": "0"})


@upstream(
    "[sig-api-machinery] ResourceQuota should create a ResourceQuota and capture the life of a pod. [Conformance]"
)
def test_pods_count_with_what_they_ask_for(quotas):
    quotas.make()
    quotas.uses(pods="0")
    asked = {"cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", EXTENDED: "2"}
    made = quotas.pod("fits", asked, {EXTENDED: "2"})
    assert made.code == 201, made
    wanted = {
        "pods": "1", "cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", "requests.example.com/dongle": "2",
    }  # fmt: skip
    quotas.uses(**wanted)
    for more in ({"cpu": "600m", "memory": "100Mi"}, {"cpu": "500m", "memory": "100Mi", EXTENDED: "2"}):
        asked = {"ephemeral-storage": "1Gi", **more}
        refused = quotas.pod("too-much", asked, {EXTENDED: asked[EXTENDED]} if EXTENDED in asked else None)
        assert refused.code == 403
        assert "exceeded quota: quota, requested:" in refused.body["message"]
    change = {"spec": {"containers": [{"name": "c", "image": IMAGE, "resources": {"requests": {"cpu": "100m"}}}]}}
    media = "application/merge-patch+json"
    assert quotas.rest("PATCH", f"{quotas.path}/pods/fits", change, media=media).code == 422
    quotas.uses(**wanted)
    quotas.gone("pods/fits")
    quotas.uses(**dict.fromkeys(wanted, "0"))


@upstream("[sig-api-machinery] ResourceQuota should verify ResourceQuota with best effort scope. [Conformance]")
def test_best_effort_and_not(quotas):
    quotas.make("best", {"pods": "5"}, scopes=["BestEffort"])
    quotas.make("not-best", {"pods": "5"}, scopes=["NotBestEffort"])
    for name, requests, counted, other in (
        ("poor", None, "best", "not-best"), ("rich", {"cpu": "100m"}, "not-best", "best"),
    ):  # fmt: skip
        quotas.uses("best", pods="0"), quotas.uses("not-best", pods="0")
        assert quotas.pod(name, requests).code == 201
        quotas.uses(counted, pods="1")
        assert quotas.used(other)["pods"] == "0"
        quotas.gone(f"pods/{name}")
        quotas.uses(counted, pods="0")


@upstream("[sig-api-machinery] ResourceQuota should verify ResourceQuota with terminating scopes. [Conformance]")
def test_terminating_and_not(quotas):
    hard = {"pods": "5", "requests.cpu": "1", "requests.memory": "500Mi", "limits.cpu": "2", "limits.memory": "1Gi"}
    quotas.make("ends", hard, scopes=["Terminating"])
    quotas.make("stays", hard, scopes=["NotTerminating"])
    requests, limits = {"cpu": "500m", "memory": "200Mi"}, {"cpu": "1", "memory": "400Mi"}
    for name, spec, counted, other in (
        ("long", {}, "stays", "ends"), ("short", {"activeDeadlineSeconds": 3600}, "ends", "stays"),
    ):  # fmt: skip
        quotas.uses("ends", pods="0"), quotas.uses("stays", pods="0")
        assert quotas.pod(name, requests, limits, **spec).code == 201
        used = {"requests.cpu": "500m", "requests.memory": "200Mi", "limits.cpu": "1", "limits.memory": "400Mi"}
        quotas.uses(counted, pods="1", **used)
        assert quotas.used(other)["pods"] == "0"
        quotas.gone(f"pods/{name}")
        quotas.uses(counted, pods="0")


@upstream("[sig-api-machinery] ResourceQuota should be able to update and delete ResourceQuota. [Conformance]")
def test_a_quota_is_updated_and_deleted(quotas):
    quotas.make(hard={"cpu": "1", "memory": "500Mi"})
    quotas.uses(cpu="0", memory="0")
    path = f"{quotas.path}/resourcequotas/quota"
    found = quotas.rest.ok("GET", path)
    found["spec"]["hard"] = {"cpu": "2", "memory": "1Gi"}
    assert quotas.rest.ok("PUT", path, found)["spec"]["hard"] == {"cpu": "2", "memory": "1Gi"}
    quotas.rest.ok("DELETE", path)
    assert quotas.rest("GET", path).code == 404


@upstream("[sig-api-machinery] ResourceQuota should manage the lifecycle of a ResourceQuota [Conformance]")
def test_the_life_of_a_quota(quotas, namespace):
    quotas.make(hard={"cpu": "1", "memory": "500Mi"})
    found = quotas.rest.ok("GET", "/api/v1/resourcequotas", labelSelector="e2e=quota")["items"]
    assert namespace in {item["metadata"]["namespace"] for item in found}
    path = f"{quotas.path}/resourcequotas"
    patch = {"metadata": {"labels": {"patched": "yes"}}, "spec": {"hard": {"memory": "750Mi"}}}
    patched = quotas.rest.merge(f"{path}/quota", patch)
    assert (patched["metadata"]["labels"]["patched"], patched["spec"]["hard"]["memory"]) == ("yes", "750Mi")
    quotas.rest.ok("DELETE", path, labelSelector="patched=yes")
    assert quotas.rest.ok("GET", path)["items"] == []
