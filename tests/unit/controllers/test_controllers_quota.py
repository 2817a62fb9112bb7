"""The quota controller counts what is there; the protection controllers let go of what nobody uses."""

from __future__ import annotations

from typing import Any

from tiphys.controllers.protection import PvcProtectionController, PvProtectionController
from tiphys.controllers.resourcequota import ResourceQuotaController
from tiphys.kinds.apiextensions.customresourcedefinition import CUSTOM_RESOURCE_DEFINITIONS
from tiphys.kinds.core.configmap import CONFIG_MAPS
from tiphys.kinds.core.persistentvolume import PERSISTENT_VOLUMES
from tiphys.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.core.resourcequota import RESOURCE_QUOTAS


def pod(name: str, **spec: Any) -> Any:
    resources = {"requests": {"cpu": "100m"}}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]} | spec,
    }


async def used(cluster: Any, wanted: Any) -> None:
    async def check() -> bool:
        await cluster.clock.advance(0.5)
        found = await cluster.get(RESOURCE_QUOTAS, "q")
        return found is not None and (found.get("status") or {}).get("used") == wanted

    await cluster.until(check, f"used {wanted}")


async def quota(cluster: Any, **hard: str) -> None:
    await cluster.create(RESOURCE_QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": hard}})


async def test_a_new_quota_counts_what_is_there_already_and_deletion_gives_back(cluster: Any) -> None:
    await cluster.create(PODS, pod("a"))
    cluster.start(ResourceQuotaController)
    await quota(cluster, pods="9", **{"requests.cpu": "2", "configmaps": "5"})
    await used(cluster, {"pods": "1", "requests.cpu": "100m", "configmaps": "0"})
    await cluster.create(PODS, pod("b"))
    await cluster.create(CONFIG_MAPS, {"metadata": {"name": "m"}})
    await used(cluster, {"pods": "2", "requests.cpu": "200m", "configmaps": "1"})
    await cluster.patch(PODS, "a", {"status": {"phase": "Succeeded"}}, subresource="status")
    await used(cluster, {"pods": "1", "requests.cpu": "100m", "configmaps": "1"})
    await cluster.delete(CONFIG_MAPS, "m")
    await cluster.delete(PODS, "b", grace=0)
    await used(cluster, {"pods": "0", "requests.cpu": "0", "configmaps": "0"})


async def test_what_was_charged_just_now_is_not_given_back(cluster: Any) -> None:
    """Its object may be about to be stored."""
    cluster.start(ResourceQuotaController)
    await quota(cluster, pods="2")
    await used(cluster, {"pods": "0"})
    await cluster.create(PODS, pod("a"))
    await used(cluster, {"pods": "1"})
    await cluster.clock.advance(60)
    await cluster.patch(RESOURCE_QUOTAS, "q", {"status": {"used": {"pods": "2"}}}, subresource="status")
    await cluster.patch(PODS, "a", {"status": {"phase": "Succeeded"}}, subresource="status")
    for _ in range(3):
        await cluster.clock.advance(0.5)
        found = await cluster.get(RESOURCE_QUOTAS, "q")
        assert found["status"]["used"] == {"pods": "2"}
    await used(cluster, {"pods": "0"})


async def test_a_quota_that_changes_is_counted_anew(cluster: Any) -> None:
    cluster.start(ResourceQuotaController)
    await quota(cluster, pods="9")
    await used(cluster, {"pods": "0"})
    await cluster.patch(RESOURCE_QUOTAS, "q", {"spec": {"hard": {"pods": None, "count/configmaps": "3"}}})
    await used(cluster, {"count/configmaps": "0"})
    found = await cluster.get(RESOURCE_QUOTAS, "q")
    assert found is not None
    assert found["status"]["hard"] == {"count/configmaps": "3"}


async def test_custom_resources_count(cluster: Any) -> None:
    version = {
        "name": "v1", "served": True, "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }  # fmt: skip
    names = {"plural": "ships", "kind": "Ship"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    await cluster.create(CUSTOM_RESOURCE_DEFINITIONS, {"metadata": {"name": "ships.example.com"}, "spec": spec})

    async def established() -> bool:
        found = await cluster.get(CUSTOM_RESOURCE_DEFINITIONS, "ships.example.com")
        return bool(found and (found.get("status") or {}).get("conditions"))

    await cluster.until(established)
    cluster.start(ResourceQuotaController)
    await quota(cluster, **{"count/ships.example.com": "2"})
    await used(cluster, {"count/ships.example.com": "0"})
    path = "/apis/example.com/v1/namespaces/default/ships"
    body = b'{"apiVersion":"example.com/v1","kind":"Ship","metadata":{"name":"argo"}}'
    await cluster.transport.send("POST", path, body=body)
    await used(cluster, {"count/ships.example.com": "1"})
    await cluster.transport.send("DELETE", f"{path}/argo")
    await used(cluster, {"count/ships.example.com": "0"})


def claim(name: str) -> Any:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"metadata": {"name": name}, "spec": spec}


async def test_a_claim_waits_for_the_pods_that_use_it(cluster: Any) -> None:
    cluster.start(PvcProtectionController)
    for name in ("used", "free"):
        await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim(name))
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "used"}}
    await cluster.create(PODS, pod("a", volumes=[volume], nodeName="n"))
    for name in ("used", "free"):
        await cluster.delete(PERSISTENT_VOLUME_CLAIMS, name)
    await cluster.gone(PERSISTENT_VOLUME_CLAIMS, "free")
    assert await cluster.get(PERSISTENT_VOLUME_CLAIMS, "used") is not None
    await cluster.delete(PODS, "a", grace=0)
    await cluster.gone(PERSISTENT_VOLUME_CLAIMS, "used")


async def test_a_volume_waits_until_it_is_not_bound(cluster: Any) -> None:
    cluster.start(PvProtectionController)
    spec = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}
    await cluster.create(PERSISTENT_VOLUMES, {"metadata": {"name": "v"}, "spec": spec})
    await cluster.patch(PERSISTENT_VOLUMES, "v", {"status": {"phase": "Bound"}}, subresource="status")
    await cluster.delete(PERSISTENT_VOLUMES, "v")
    assert await cluster.get(PERSISTENT_VOLUMES, "v") is not None
    await cluster.patch(PERSISTENT_VOLUMES, "v", {"status": {"phase": "Released"}}, subresource="status")
    await cluster.gone(PERSISTENT_VOLUMES, "v")
