"""ReplicaSets as their users see them, and the pure plan behind."""

from __future__ import annotations

from typing import Any

from tiphys.api.errors import Forbidden
from tiphys.api.meta import ObjectMeta
from tiphys.controllers.pods import deletion_order, slow_start
from tiphys.controllers.replicas import plan
from tiphys.controllers.replicaset import ReplicaSetController
from tiphys.controllers.replicationcontroller import ReplicationControllerController
from tiphys.kinds.apps.replicaset import REPLICA_SETS, ReplicaSet, ReplicaSetSpec
from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.core.pod import PODS, Pod, PodCondition, PodStatus
from tiphys.kinds.core.podspec import PodSpec
from tiphys.kinds.core.replicationcontroller import REPLICATION_CONTROLLERS

NOW = 1_700_000_000.0
TEMPLATE = {
    "metadata": {"labels": {"app": "web"}, "annotations": {"note": "kept"}},
    "spec": {"containers": [{"name": "c", "image": "busybox", "stdin": True}]},
}


def replica_set(replicas: int, **spec: Any) -> dict[str, Any]:
    selector = {"matchLabels": {"app": "web"}}
    return {
        "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": selector, "template": TEMPLATE, **spec},
    }


def pod(name: str, *, node: str = "", phase: str = "Running", ready: bool = True, **meta: Any) -> Pod:
    conditions = [PodCondition(type="Ready", status="True", last_transition_time="2023-11-14T22:00:00Z")]
    return Pod(
        metadata=ObjectMeta(name=name, uid=name, **meta), spec=PodSpec(node_name=node),
        status=PodStatus(phase=phase, conditions=conditions if ready else []),
    )  # fmt: skip


def names(pods: list[Pod]) -> list[str]:
    return [each.metadata.name for each in pods]


async def ready_status(cluster: Any, count: int) -> dict[str, Any]:
    async def check() -> Any:
        found = await cluster.get(REPLICA_SETS, "web")
        status = found["status"]
        return status if status["replicas"] == count and status.get("readyReplicas", 0) == count else None

    found: dict[str, Any] = await cluster.until(check, f"{count} ready replicas")
    return found


async def pods_of(cluster: Any, count: int) -> list[Pod]:
    async def check() -> Any:
        found = await cluster.list(PODS, "default")
        return found if len(found) == count else None

    if not count:
        async def none() -> bool:
            return not await cluster.list(PODS, "default")

        await cluster.until(none)
        return []
    found: list[Pod] = await cluster.until(check, f"{count} pods")
    return found


class TestPlan:
    def owner(self, replicas: int, **spec: Any) -> ReplicaSet:
        return ReplicaSet(metadata=ObjectMeta(generation=3), spec=ReplicaSetSpec(replicas=replicas, **spec))

    def test_creates_what_is_missing(self) -> None:
        assert plan(self.owner(3), [pod("a")], dict, NOW).create == 2

    def test_finished_and_deleted_pods_do_not_count(self) -> None:
        gone = pod("b", deletion_timestamp="2023-11-14T22:00:00Z")
        planned = plan(self.owner(1), [pod("a", phase="Failed"), gone], dict, NOW)
        assert planned.create == 1
        assert planned.counts["terminatingReplicas"] == 1

    def test_available_only_after_min_ready_seconds(self) -> None:
        since = 1_699_999_200.0
        planned = plan(self.owner(1, min_ready_seconds=10), [pod("a")], dict, since + 4)
        assert planned.counts["readyReplicas"] == 1
        assert planned.counts["availableReplicas"] is None
        assert planned.again == 6

    def test_owner_that_goes_makes_nothing(self) -> None:
        meta = ObjectMeta(deletion_timestamp="2023-11-14T22:00:00Z")
        assert plan(ReplicaSet(metadata=meta, spec=ReplicaSetSpec(replicas=3)), [], dict, NOW).create == 0


class TestDeletionOrder:
    def test_cheapest_state_first(self) -> None:
        pods = [
            pod("ready", node="n"), pod("not-ready", node="n", ready=False),
            pod("pending", node="n", phase="Pending", ready=False), pod("unscheduled", phase="Pending", ready=False),
        ]  # fmt: skip
        assert names(deletion_order(pods, {}, NOW)) == ["unscheduled", "pending", "not-ready", "ready"]

    def test_cost_before_crowding(self) -> None:
        cost = {"controller.kubernetes.io/pod-deletion-cost": "-5"}
        pods = [pod("crowded", node="a"), pod("cheap", node="b", annotations=cost), pod("alone", node="b")]
        assert names(deletion_order(pods, {"a": 2, "b": 1}, NOW)) == ["cheap", "crowded", "alone"]

    def test_younger_first(self) -> None:
        old, young = "2023-11-01T00:00:00Z", "2023-11-14T22:13:00Z"
        pods = [pod("old", node="a", creation_timestamp=old), pod("young", node="a", creation_timestamp=young)]
        assert names(deletion_order(pods, {}, NOW)) == ["young", "old"]


async def test_slow_start_stops_after_a_refusal() -> None:
    calls = 0

    async def work() -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise Forbidden("quota")

    failure = await slow_start(100, work)
    assert isinstance(failure, Forbidden)
    assert calls == 3


async def test_makes_pods_with_all_of_the_template(cluster: Any) -> None:
    cluster.start(ReplicaSetController)
    await cluster.create(REPLICA_SETS, replica_set(3))
    pods = await pods_of(cluster, 3)
    whole = await cluster.get(PODS, pods[0].metadata.name)
    assert whole["metadata"]["name"].startswith("web-")
    assert whole["metadata"]["annotations"]["note"] == "kept"
    assert whole["spec"]["containers"][0]["stdin"] is True
    await cluster.run_pods()
    status = await ready_status(cluster, 3)
    assert status["availableReplicas"] == 3
    assert status["fullyLabeledReplicas"] == 3
    assert status["observedGeneration"] == 1

    async def told() -> bool:
        reasons = [event.reason for event in await cluster.list(EVENTS, "default")]
        return reasons.count("SuccessfulCreate") == 3

    await cluster.until(told)


async def test_scales_down_and_replaces_a_lost_pod(cluster: Any) -> None:
    cluster.start(ReplicaSetController)
    await cluster.create(REPLICA_SETS, replica_set(3))
    await pods_of(cluster, 3)
    await cluster.patch(REPLICA_SETS, "web", {"spec": {"replicas": 1}})
    (left,) = await pods_of(cluster, 1)
    await cluster.delete(PODS, left.metadata.name)

    async def replaced() -> Any:
        found = await cluster.list(PODS, "default")
        return len(found) == 1 and found[0].metadata.uid != left.metadata.uid

    await cluster.until(replaced)


async def test_adopts_and_releases_by_label(cluster: Any) -> None:
    cluster.start(ReplicaSetController)
    bare = {"metadata": {"name": "bare", "labels": {"app": "web"}}, "spec": TEMPLATE["spec"]}
    await cluster.create(PODS, bare)
    await cluster.create(REPLICA_SETS, replica_set(1))

    async def adopted() -> Any:
        found = await cluster.get(PODS, "bare")
        return found["metadata"].get("ownerReferences")

    owners = await cluster.until(adopted)
    assert owners[0]["kind"] == "ReplicaSet"
    assert owners[0]["controller"] is True
    await cluster.patch(PODS, "bare", {"metadata": {"labels": {"app": "other"}}})
    await pods_of(cluster, 2)

    async def released() -> bool:
        return not await adopted()

    await cluster.until(released)


async def test_refused_pods_show_in_the_status(cluster: Any) -> None:
    cluster.start(ReplicaSetController)
    spec = {**TEMPLATE["spec"], "serviceAccountName": "missing"}
    await cluster.create(REPLICA_SETS, replica_set(2, template={**TEMPLATE, "spec": spec}))

    async def failed() -> Any:
        found = await cluster.get(REPLICA_SETS, "web")
        return next(iter(found["status"].get("conditions", ())), None)

    condition = await cluster.until(failed)
    assert (condition["type"], condition["status"], condition["reason"]) == ("ReplicaFailure", "True", "FailedCreate")


async def test_becomes_available_after_min_ready_seconds(cluster: Any) -> None:
    cluster.start(ReplicaSetController)
    await cluster.create(REPLICA_SETS, replica_set(1, minReadySeconds=30))
    await pods_of(cluster, 1)
    await cluster.run_pods()
    assert "availableReplicas" not in await ready_status(cluster, 1)
    await cluster.clock.advance(31)

    async def available() -> bool:
        return (await cluster.get(REPLICA_SETS, "web"))["status"].get("availableReplicas") == 1

    await cluster.until(available)


async def test_replication_controller(cluster: Any) -> None:
    cluster.start(ReplicationControllerController)
    made = {"metadata": {"name": "web"}, "spec": {"replicas": 2, "selector": {"app": "web"}, "template": TEMPLATE}}
    await cluster.create(REPLICATION_CONTROLLERS, made)
    pods = await pods_of(cluster, 2)
    assert pods[0].metadata.controller.kind == "ReplicationController"
