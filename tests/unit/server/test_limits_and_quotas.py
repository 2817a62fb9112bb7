"""LimitRanges fill in and bound what pods ask for; ResourceQuotas bound what a namespace uses, however many ask."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from tests.unit.server.conftest import Api

PODS = "/api/v1/namespaces/default/pods"
QUOTAS = "/api/v1/namespaces/default/resourcequotas"


@pytest.fixture(autouse=True)
async def account(api: Api) -> None:
    await api.ok("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})


def pod(name: str, requests: Any = None, limits: Any = None, **spec: Any) -> Any:
    resources = {"requests": requests or {}, "limits": limits or {}}
    container = {"name": "main", "image": "busybox", "resources": resources}
    return {"metadata": {"name": name}, "spec": {"containers": [container]} | spec}


async def limit(api: Api, **item: Any) -> None:
    body = {"metadata": {"name": "limits"}, "spec": {"limits": [item]}}
    await api.ok("POST", "/api/v1/namespaces/default/limitranges", body)


async def quota(api: Api, hard: Any, name: str = "q", **spec: Any) -> None:
    """A quota whose use has been counted as nothing."""
    await api.ok("POST", QUOTAS, {"metadata": {"name": name}, "spec": {"hard": hard} | spec})
    status = {"hard": hard, "used": dict.fromkeys(hard, "0")}
    await api.ok(
        "PUT", f"{QUOTAS}/{name}/status", {"metadata": {"name": name}, "spec": {"hard": hard}, "status": status}
    )


async def used(api: Api, name: str = "q") -> Any:
    return (await api.ok("GET", f"{QUOTAS}/{name}"))["status"]["used"]


async def test_a_limit_range_fills_in_what_is_not_said(api: Api) -> None:
    await limit(api, type="Container", default={"cpu": "1"}, defaultRequest={"cpu": "200m", "memory": "64Mi"})
    made = await api.ok("POST", PODS, pod("a", {"memory": "1Gi"}))
    resources = made["spec"]["containers"][0]["resources"]
    assert resources == {"requests": {"cpu": "200m", "memory": "1Gi"}, "limits": {"cpu": "1"}}
    note = made["metadata"]["annotations"]["kubernetes.io/limit-ranger"]
    assert note == "LimitRanger plugin set: cpu request for container main; cpu limit for container main"


@pytest.mark.parametrize(
    ("item", "requests", "limits", "why"),
    [
        ({"min": {"cpu": "1"}}, {"cpu": "500m"}, {}, "minimum cpu usage per Pod is 1, but request is 500m"),
        ({"min": {"cpu": "1"}}, {}, {}, "minimum cpu usage per Pod is 1.  No request is specified"),
        ({"max": {"cpu": "1"}}, {"cpu": "1"}, {"cpu": "2"}, "maximum cpu usage per Pod is 1, but limit is 2"),
        ({"max": {"cpu": "1"}}, {}, {}, "maximum cpu usage per Pod is 1.  No limit is specified"),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}}, {"cpu": "1"}, {"cpu": "3"},
            "cpu max limit to request ratio per Pod is 2, but provided ratio is 3.000000",
        ),
    ],
)  # fmt: skip
async def test_a_limit_range_bounds(api: Api, item: Any, requests: Any, limits: Any, why: str) -> None:
    await limit(api, type="Pod", **item)
    code, answer = await api("POST", PODS, pod("a", requests, limits))
    assert (code, answer["message"]) == (403, f'pods "a" is forbidden: {why}')


async def test_what_a_write_uses_is_charged(api: Api) -> None:
    hard = {"pods": "2", "requests.cpu": "1", "limits.memory": "1Gi", "count/configmaps": "9", "configmaps": "9"}
    await quota(api, hard)
    await api.ok("POST", PODS, pod("a", {"cpu": "400m"}, {"memory": "512Mi"}))
    await api.ok("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "m"}})
    assert await used(api) == {
        "pods": "1", "requests.cpu": "400m", "limits.memory": "512Mi", "count/configmaps": "1", "configmaps": "1",
    }  # fmt: skip
    code, answer = await api("POST", PODS, pod("b", {"cpu": "700m"}, {"memory": "1Mi"}))
    why = "exceeded quota: q, requested: requests.cpu=700m, used: requests.cpu=400m, limited: requests.cpu=1"
    assert (code, answer["message"]) == (403, f'pods "b" is forbidden: {why}')
    code, answer = await api("POST", PODS, pod("b", {"cpu": "1m"}))
    assert answer["message"] == 'pods "b" is forbidden: failed quota: q: must specify limits.memory for: main'


async def test_a_dry_run_and_a_write_that_fails_use_nothing(api: Api) -> None:
    await quota(api, {"configmaps": "1"})
    maps = "/api/v1/namespaces/default/configmaps"
    await api.ok("POST", maps, {"metadata": {"name": "m"}}, dryRun="All")
    assert await used(api) == {"configmaps": "0"}
    await api.ok("POST", maps, {"metadata": {"name": "m"}})
    await quota(api, {"count/configmaps": "5"}, "r")
    assert (await api("POST", maps, {"metadata": {"name": "m"}}))[0] == 403
    await api.ok("DELETE", f"{QUOTAS}/q")
    code, _ = await api("POST", maps, {"metadata": {"name": "m"}})
    assert code == 409
    assert await used(api, "r") == {"count/configmaps": "0"}


async def test_many_at_once_cannot_take_more_than_there_is(api: Api) -> None:
    await quota(api, {"pods": "5"})
    answers = await asyncio.gather(*(api("POST", PODS, pod(f"p{n}")) for n in range(20)))
    assert sorted(code for code, _ in answers) == [201] * 5 + [403] * 15
    assert await used(api) == {"pods": "5"}


@pytest.mark.parametrize(
    ("scopes", "inside", "outside"),
    [
        (["BestEffort"], pod("a"), pod("a", {"cpu": "1"})),
        (["NotBestEffort"], pod("a", {"cpu": "1"}), pod("a")),
        (["Terminating"], pod("a", activeDeadlineSeconds=5), pod("a")),
        (["NotTerminating"], pod("a"), pod("a", activeDeadlineSeconds=5)),
        (
            ["CrossNamespacePodAffinity"],
            pod("a", affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "zone", "namespaceSelector": {}, "labelSelector": {}}]}}),
            pod("a", affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "zone", "labelSelector": {}}]}}),
        ),
    ],
)  # fmt: skip
async def test_a_quota_has_scopes(api: Api, scopes: list[str], inside: Any, outside: Any) -> None:
    await quota(api, {"pods": "0"}, scopes=scopes)
    assert (await api("POST", PODS, outside, dryRun="All"))[0] == 201
    assert (await api("POST", PODS, inside, dryRun="All"))[0] == 403


async def test_a_quota_selects_priority_classes(api: Api) -> None:
    for name in ("high", "low"):
        body = {"metadata": {"name": name}, "value": 5}
        await api.ok("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", body)
    term = {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}
    await quota(api, {"pods": "0"}, scopeSelector={"matchExpressions": [term]})
    assert (await api("POST", PODS, pod("a", priorityClassName="low")))[0] == 201
    assert (await api("POST", PODS, pod("b", priorityClassName="high")))[0] == 403


async def test_a_service_may_grow_into_a_quota(api: Api) -> None:
    services = "/api/v1/namespaces/default/services"
    await quota(api, {"services.nodeports": "1", "services": "5"})
    spec = {"selector": {"a": "b"}, "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}
    made = await api.ok("POST", services, {"metadata": {"name": "s"}, "spec": spec})
    made["spec"]["type"] = "NodePort"
    code, answer = await api("PUT", f"{services}/s", made)
    assert code == 403
    assert "exceeded quota: q, requested: services.nodeports=2" in answer["message"]
    made["spec"]["ports"].pop()
    await api.ok("PUT", f"{services}/s", made)
    assert await used(api) == {"services.nodeports": "1", "services": "1"}


async def test_a_quota_of_custom_resources_and_of_storage(api: Api) -> None:
    await quota(api, {"count/deployments.apps": "0", "gold.storageclass.storage.k8s.io/requests.storage": "1Gi"})
    resources = {"requests": {"storage": "2Gi"}}
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "gold", "resources": resources}
    claim = {"metadata": {"name": "c"}, "spec": spec}
    code, answer = await api("POST", "/api/v1/namespaces/default/persistentvolumeclaims", claim)
    assert code == 403
    assert "gold.storageclass.storage.k8s.io/requests.storage=2Gi" in orjson.dumps(answer).decode()
