"""Pods that are refused: by a quota half-way, by a LimitRange, for what they name. Told, not hammered, mended."""

from __future__ import annotations

from typing import Any

import pytest
from trouble import KINDS, add_nodes, event, owners, passes, told, workload

from tiphys.controllers.daemonset import DaemonSetController
from tiphys.controllers.deployment import DeploymentController
from tiphys.controllers.job import JobController
from tiphys.controllers.replicaset import ReplicaSetController
from tiphys.controllers.resourcequota import ResourceQuotaController
from tiphys.controllers.statefulset import StatefulSetController
from tiphys.kinds.apps.deployment import DEPLOYMENTS
from tiphys.kinds.core.limitrange import LIMIT_RANGES
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.core.resourcequota import RESOURCE_QUOTAS
from tiphys.kinds.core.serviceaccount import SERVICE_ACCOUNTS
from tiphys.kinds.scheduling.priorityclass import PRIORITY_CLASSES

HOUR = 3600.0
# What one workload may write in an hour of refusals: its back-off ends at one try a minute, each told in an event.
ENOUGH = 500


@pytest.fixture
async def made(cluster: Any) -> Any:
    for each in (
        ReplicaSetController, DeploymentController, StatefulSetController, DaemonSetController, JobController,
        ResourceQuotaController,
    ):  # fmt: skip
        cluster.start(each)
    await add_nodes(cluster, 4)
    return cluster


async def condition(cluster: Any, type_: str, reason: str) -> dict[str, Any]:
    async def check() -> Any:
        await cluster.clock.advance(0.5)
        found = await cluster.get(DEPLOYMENTS, "w")
        held = {each["type"]: each for each in found.get("status", {}).get("conditions", ())}.get(type_)
        return held if held is not None and held["reason"] == reason else None

    answer: dict[str, Any] = await cluster.until(check, f"{type_} {reason}")
    return answer


async def grow(cluster: Any, pods: str) -> None:
    await cluster.patch(RESOURCE_QUOTAS, "q", {"spec": {"hard": {"pods": pods}}})


@pytest.mark.parametrize("kind", list(KINDS))
async def test_a_quota_that_ends_half_way(made: Any, kind: str) -> None:
    await made.create(RESOURCE_QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "2"}}})
    await passes(made, 2, 0.5)
    await made.create(KINDS[kind], workload(kind, "w", 4))
    await owners(made, 2)
    refused = await event(made, "FailedCreate", "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2")
    assert refused.type == "Warning"
    assert await passes(made, HOUR) <= ENOUGH
    assert await told(made, "FailedCreate") <= 150
    await owners(made, 2)
    await grow(made, "4")
    # At once, although the back-off has come to a minute.
    await passes(made, 5, 0.5)
    await owners(made, 4)
    await passes(made, 60)
    if kind not in ("Job",):
        assert await passes(made, HOUR) <= 20


async def test_a_deployment_tells_of_a_quota_and_goes_on_when_it_grows(made: Any) -> None:
    await made.create(RESOURCE_QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "3"}}})
    await passes(made, 2, 0.5)
    wanted = workload("Deployment", "w", 3)
    wanted["spec"] |= {"progressDeadlineSeconds": 300, "strategy": {"rollingUpdate": {"maxUnavailable": 0}}}
    await made.create(DEPLOYMENTS, wanted)
    await owners(made, 3)
    await made.run_pods()
    await condition(made, "Progressing", "NewReplicaSetAvailable")
    await made.patch(DEPLOYMENTS, "w", {"spec": {"template": {"metadata": {"labels": {"v": "2"}}}}})
    failure = await condition(made, "ReplicaFailure", "FailedCreate")
    assert "exceeded quota: q" in failure["message"]
    await passes(made, 400)
    assert (await condition(made, "Progressing", "ProgressDeadlineExceeded"))["status"] == "False"
    await grow(made, "4")

    async def done() -> bool:
        await made.clock.advance(5)
        await made.run_pods()
        found = (await made.get(DEPLOYMENTS, "w"))["status"]
        return bool(found.get("updatedReplicas") == found.get("availableReplicas") == found.get("replicas") == 3)

    await made.until(done, "the rollout ends")
    await condition(made, "Progressing", "NewReplicaSetAvailable")
    conditions = (await made.get(DEPLOYMENTS, "w"))["status"]["conditions"]
    assert "ReplicaFailure" not in [each["type"] for each in conditions]


async def test_a_quota_lets_go_on_when_other_pods_go(made: Any) -> None:
    spec = {"containers": [{"name": "c", "image": "app:1"}]}
    await made.create(PODS, {"metadata": {"name": "other"}, "spec": spec})
    await made.create(RESOURCE_QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "2"}}})
    await passes(made, 2, 0.5)
    await made.create(KINDS["ReplicaSet"], workload("ReplicaSet", "w", 2))
    await event(made, "FailedCreate", "exceeded quota: q")
    await made.delete(PODS, "other", grace=0)
    await passes(made, 120, 5)
    await owners(made, 2)


@pytest.mark.parametrize("kind", list(KINDS))
async def test_a_limit_range_refuses(made: Any, kind: str) -> None:
    limits = {"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]}
    await made.create(LIMIT_RANGES, {"metadata": {"name": "l"}, "spec": limits})
    container = {"name": "c", "image": "app:1", "resources": {"limits": {"memory": "2Gi"}}}
    await made.create(KINDS[kind], workload(kind, "w", 2, containers=[container]))
    await event(made, "FailedCreate", "maximum memory usage per Container is 1Gi, but limit is 2Gi")
    assert await passes(made, HOUR) <= ENOUGH
    assert await made.list(PODS, "default") == []
    await made.patch(LIMIT_RANGES, "l", {"spec": {"limits": [{"type": "Container", "max": {"memory": "4Gi"}}]}})
    await passes(made, 120, 5)
    assert sum(len(pods) for pods in (await owners(made, 4 if kind == "DaemonSet" else 2)).values())


@pytest.mark.parametrize(("field", "text", "mend"), [
    ({"serviceAccountName": "absent"}, 'serviceaccount "absent" not found', SERVICE_ACCOUNTS),
    ({"priorityClassName": "absent"}, "no PriorityClass with name absent was found", PRIORITY_CLASSES),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "Job"])
async def test_what_a_pod_names_is_missing(made: Any, kind: str, field: Any, text: str, mend: Any) -> None:
    await made.create(KINDS[kind], workload(kind, "w", 2, **field))
    await event(made, "FailedCreate", text)
    assert await passes(made, HOUR) <= ENOUGH
    await made.create(mend, {"metadata": {"name": "absent"}, **({"value": 5} if mend is PRIORITY_CLASSES else {})})
    await passes(made, 120, 5)
    await owners(made, 2)


@pytest.mark.parametrize("kind", list(KINDS))
async def test_a_new_leader_in_the_middle_makes_no_doubles(made: Any, kind: str) -> None:
    await made.create(RESOURCE_QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "2"}}})
    await passes(made, 2, 0.5)
    await made.create(KINDS[kind], workload(kind, "w", 4))
    await owners(made, 2)
    # The old one does not know yet that it leads no more: both are at it.
    made.start({
        "Deployment": ReplicaSetController, "ReplicaSet": ReplicaSetController, "StatefulSet": StatefulSetController,
        "DaemonSet": DaemonSetController, "Job": JobController,
    }[kind])  # fmt: skip
    await passes(made, 60)
    await grow(made, "10")
    await passes(made, 180, 5)
    await owners(made, 4)
