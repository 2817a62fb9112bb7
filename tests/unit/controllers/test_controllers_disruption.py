"""How many evictions a PodDisruptionBudget allows."""

from __future__ import annotations

from typing import Any

import pytest
from crews import crew

from tiphys.api.errors import TooManyRequests
from tiphys.api.meta import ObjectMeta
from tiphys.controllers.disruption_budget import DisruptionController, plan
from tiphys.controllers.replicaset import ReplicaSetController
from tiphys.kinds.apps.replicaset import REPLICA_SETS
from tiphys.kinds.core.pod import PODS, Pod, PodCondition, PodStatus
from tiphys.kinds.policy.poddisruptionbudget import (
    POD_DISRUPTION_BUDGETS,
    PodDisruptionBudget,
    PodDisruptionBudgetSpec,
    PodDisruptionBudgetStatus,
)

NOW = 1_700_000_000.0


def pods(ready: int, others: int = 0) -> list[Pod]:
    states = [True] * ready + [False] * others
    return [
        Pod(ObjectMeta(name=f"p{n}"), status=PodStatus(conditions=[PodCondition("Ready", str(state))]))
        for n, state in enumerate(states)
    ]


def allowed(found: list[Pod], size: int, **spec: Any) -> tuple[int, int, int]:
    budget = PodDisruptionBudget(ObjectMeta(name="b"), PodDisruptionBudgetSpec(**spec))
    status = plan(budget, found, {"w": size}, NOW).status
    return status["expectedPods"], status["desiredHealthy"], status["disruptionsAllowed"]


def test_what_the_limits_mean():
    assert allowed(pods(3), 3, min_available=2) == (3, 2, 1)
    assert allowed(pods(3), 10, min_available="50%") == (10, 5, 0)
    assert allowed(pods(3), 3, max_unavailable=1) == (3, 2, 1)
    assert allowed(pods(2, 1), 3, max_unavailable=1) == (3, 2, 0)
    assert allowed(pods(7), 7, max_unavailable="30%") == (7, 4, 3)
    assert allowed(pods(0), 0, max_unavailable=1) == (0, 0, 0)


def test_an_eviction_counts_until_the_pod_goes_or_for_two_minutes():
    spec = PodDisruptionBudgetSpec(min_available=1)
    status = PodDisruptionBudgetStatus(disrupted_pods={"p0": "2023-11-14T22:12:20Z", "gone": "2023-11-14T22:12:20Z"})
    planned = plan(PodDisruptionBudget(ObjectMeta(name="b"), spec, status), pods(3), {}, NOW)
    assert planned.status["disruptionsAllowed"] == 1
    assert planned.status["disruptedPods"] == {"gone": None}
    assert planned.again == pytest.approx(60)
    planned = plan(PodDisruptionBudget(ObjectMeta(name="b"), spec, status), pods(3), {}, NOW + 61)
    assert planned.status["disruptionsAllowed"] == 2
    assert planned.events[0][0] == "NotDeleted"


async def test_the_status_lets_evictions_through_and_holds_them_up(cluster: Any):
    cluster.start(ReplicaSetController)
    cluster.start(DisruptionController)
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    await cluster.create(REPLICA_SETS, {"metadata": {"name": "web"}, "spec": spec})
    budget = {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    await cluster.create(POD_DISRUPTION_BUDGETS, {"metadata": {"name": "b"}, "spec": budget})

    async def status(**wanted: int) -> Any:
        async def check() -> Any:
            found = (await cluster.get(POD_DISRUPTION_BUDGETS, "b")).get("status", {})
            return found if all(found.get(name) == value for name, value in wanted.items()) else None

        return await cluster.until(check, str(wanted))

    async def two() -> bool:
        return len(await cluster.list(PODS, "default")) == 2

    await cluster.until(two)
    await cluster.run_pods()
    found = await status(disruptionsAllowed=1, expectedPods=2, currentHealthy=2, desiredHealthy=1)
    assert found["conditions"][0]["reason"] == "SufficientPods"
    first, second = await cluster.list(PODS, "default")

    async def evict(pod: Pod) -> None:
        body = {"metadata": {"name": pod.metadata.name, "namespace": "default"}}
        await cluster.client.of(PODS).create_json(body, subresource="eviction")

    await evict(first)
    await status(disruptionsAllowed=0)
    with pytest.raises(TooManyRequests):
        await evict(second)


async def test_pods_of_any_kind_with_a_scale_are_counted_by_it(cluster: Any):
    cluster.start(DisruptionController)
    made = await crew(cluster, replicas=4)
    owner = {"apiVersion": "argo.org/v1", "kind": "Crew", "name": "c", "uid": made["metadata"]["uid"]}
    for number in range(4):
        meta = {"name": f"c-{number}", "labels": {"app": "c"}, "ownerReferences": [owner | {"controller": True}]}
        await cluster.create(PODS, {"metadata": meta, "spec": {"containers": [{"name": "c", "image": "busybox"}]}})
    await cluster.run_pods()
    spec = {"maxUnavailable": "25%", "selector": {"matchLabels": {"app": "c"}}}
    await cluster.create(POD_DISRUPTION_BUDGETS, {"metadata": {"name": "b"}, "spec": spec})

    async def counted() -> bool:
        status = (await cluster.get(POD_DISRUPTION_BUDGETS, "b")).get("status", {})
        return (status.get("expectedPods"), status.get("disruptionsAllowed")) == (4, 1)

    await cluster.until(counted)


async def test_pods_of_a_kind_without_a_scale_say_so(cluster: Any):
    cluster.start(DisruptionController)
    owner = {"apiVersion": "argo.org/v1", "kind": "Oar", "name": "o", "uid": "u", "controller": True}
    meta = {"name": "o-0", "labels": {"app": "o"}, "ownerReferences": [owner]}
    await cluster.create(PODS, {"metadata": meta, "spec": {"containers": [{"name": "c", "image": "busybox"}]}})
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "o"}}}
    await cluster.create(POD_DISRUPTION_BUDGETS, {"metadata": {"name": "b"}, "spec": spec})

    async def told() -> bool:
        conditions = (await cluster.get(POD_DISRUPTION_BUDGETS, "b")).get("status", {}).get("conditions") or [{}]
        return conditions[0].get("reason") == "SyncFailed" and "minAvailable" in conditions[0]["message"]

    await cluster.until(told)
