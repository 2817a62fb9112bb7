"""Two controllers that want the same pods: each pod has one owner, nobody fights, and nothing is made without end."""

from __future__ import annotations

from typing import Any

import pytest
from trouble import KINDS, add_nodes, owners, passes, workload

from tiphys.api.errors import ApiError, Invalid
from tiphys.controllers.daemonset import DaemonSetController
from tiphys.controllers.deployment import DeploymentController
from tiphys.controllers.disruption_budget import DisruptionController
from tiphys.controllers.job import JobController
from tiphys.controllers.replicaset import ReplicaSetController
from tiphys.controllers.statefulset import StatefulSetController
from tiphys.kinds.apps.deployment import DEPLOYMENTS
from tiphys.kinds.apps.replicaset import REPLICA_SETS
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.policy.poddisruptionbudget import POD_DISRUPTION_BUDGETS

SHARED = {"app": "shared"}
HOUR = 3600.0
# Writes in an hour: a status and an event that came late, and no fight.
FEW = 20


@pytest.fixture
def all_kinds(cluster: Any) -> Any:
    for each in (
        ReplicaSetController, DeploymentController, StatefulSetController, DaemonSetController, JobController,
    ):  # fmt: skip
        cluster.start(each)
    return cluster


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ReplicaSet", "ReplicaSet"), ("ReplicaSet", "StatefulSet"), ("Job", "ReplicaSet"),
        ("Deployment", "Deployment"), ("DaemonSet", "Deployment"), ("StatefulSet", "Deployment"),
    ],
)  # fmt: skip
async def test_both_have_their_own_pods_and_then_rest(all_kinds: Any, one: str, other: str) -> None:
    cluster = all_kinds
    await add_nodes(cluster, 3)
    await cluster.create(KINDS[one], workload(one, "one", 3, labels=SHARED))
    await cluster.create(KINDS[other], workload(other, "other", 2, labels=SHARED))
    found = await owners(cluster, 5)
    await cluster.run_pods()
    assert sorted(len(pods) for pods in found.values()) == [2, 3]
    # Every status tells in the end; from then on there is nothing to do.
    await passes(cluster, 60)
    assert await passes(cluster, HOUR) <= FEW
    again = await owners(cluster, 5)
    names = {key: sorted(pod.metadata.name for pod in pods) for key, pods in found.items()}
    assert {key: sorted(pod.metadata.name for pod in pods) for key, pods in again.items()} == names


async def test_an_orphan_that_two_want_gets_one_owner(all_kinds: Any) -> None:
    cluster = all_kinds
    for name in ("one", "other"):
        await cluster.create(REPLICA_SETS, workload("ReplicaSet", name, 1, labels=SHARED))
    await owners(cluster, 2)
    spec = {"containers": [{"name": "c", "image": "app:1"}]}
    await cluster.create(PODS, {"metadata": {"name": "bare", "labels": SHARED}, "spec": spec})
    # Whoever adopts it has one too many, and lets one go.
    found = await owners(cluster, 2)
    assert sorted(found) == ["one", "other"]
    await passes(cluster, 60)
    assert await passes(cluster, HOUR) <= FEW


async def test_a_pod_that_is_let_go_of_may_be_adopted_by_another(all_kinds: Any) -> None:
    cluster = all_kinds
    await cluster.create(REPLICA_SETS, workload("ReplicaSet", "one", 1, labels={"app": "one"}))
    (pod,) = (await owners(cluster, 1))["one"]
    await cluster.create(REPLICA_SETS, workload("ReplicaSet", "other", 1, labels={"app": "other"}))
    await owners(cluster, 2)
    await cluster.patch(REPLICA_SETS, "other", {"spec": {"replicas": 2}})
    await owners(cluster, 3)
    await cluster.patch(PODS, pod.metadata.name, {"metadata": {"labels": {"app": "other"}}})

    async def moved() -> bool:
        found = await owners(cluster, 3)
        left = [each.metadata.uid for each in found["one"]]
        return len(left) == 1 and pod.metadata.uid not in left

    await cluster.until(moved, "one has a new pod, the other has no more than it wants")
    await passes(cluster, 60)
    assert await passes(cluster, HOUR) <= FEW


async def test_a_pod_with_two_controllers_is_refused(cluster: Any) -> None:
    references = [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": name, "controller": True} for name in "ab"
    ]
    spec = {"containers": [{"name": "c", "image": "app:1"}]}
    with pytest.raises(Invalid) as caught:
        await cluster.create(PODS, {"metadata": {"name": "p", "ownerReferences": references}, "spec": spec})
    assert "Only one reference can have Controller set to true" in caught.value.message


async def test_a_deployment_that_does_not_select_its_own_pods_is_refused(cluster: Any) -> None:
    wrong = workload("Deployment", "web", 1)
    wrong["spec"]["selector"]["matchLabels"] = {"app": "another"}
    with pytest.raises(Invalid) as caught:
        await cluster.create(DEPLOYMENTS, wrong)
    assert "`selector` does not match template `labels`" in caught.value.message


async def test_two_budgets_over_one_pod_say_so_when_it_is_to_be_evicted(cluster: Any) -> None:
    cluster.start(DisruptionController)
    spec = {"containers": [{"name": "c", "image": "app:1"}]}
    await cluster.add_node("n")
    await cluster.create(PODS, {"metadata": {"name": "p", "labels": SHARED}, "spec": spec})
    await cluster.bind("p", "n")
    await cluster.make_ready("p")
    for name in ("one", "other"):
        budget = {"minAvailable": 0, "selector": {"matchLabels": SHARED}}
        await cluster.create(POD_DISRUPTION_BUDGETS, {"metadata": {"name": name}, "spec": budget})
    await passes(cluster, 10, 1)
    assert await passes(cluster, HOUR) <= FEW
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p", "namespace": "default"}}
    with pytest.raises(ApiError, match="more than one PodDisruptionBudget"):
        await cluster.client.of(PODS).create_json(eviction, subresource="eviction")
    await cluster.delete(POD_DISRUPTION_BUDGETS, "other")
    await passes(cluster, 10, 1)
    await cluster.client.of(PODS).create_json(eviction, subresource="eviction")
