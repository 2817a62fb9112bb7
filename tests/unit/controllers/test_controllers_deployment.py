"""Deployments as their users see them, and the pure parts behind: sizes, conditions, revisions."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api.meta import ObjectMeta
from tiphys.controllers import deployment_rollout as rollout
from tiphys.controllers.deployment import DeploymentController
from tiphys.controllers.deployment_revision import HASH_LABEL, same_template, template_hash
from tiphys.controllers.replicaset import ReplicaSetController
from tiphys.kinds.apps.deployment import (
    DEPLOYMENTS,
    Deployment,
    DeploymentSpec,
    DeploymentStrategy,
    RollingUpdateDeployment,
)
from tiphys.kinds.apps.replicaset import REPLICA_SETS, ReplicaSet, ReplicaSetSpec, ReplicaSetStatus
from tiphys.kinds.core.pod import PODS

REVISION = "deployment.kubernetes.io/revision"


def deployment(replicas: int = 3, **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "one"}]}}
    return {
        "metadata": {"name": "web", "annotations": {"kubernetes.io/change-cause": "first"}},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template, **spec,
        },
    }  # fmt: skip


def image(name: str) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": name}]}}}}


def of(replicas: int, surge: int | str = "25%", unavailable: int | str = "25%") -> Deployment:
    strategy = DeploymentStrategy(rolling_update=RollingUpdateDeployment(unavailable, surge))
    return Deployment(spec=DeploymentSpec(replicas=replicas, strategy=strategy))


def replica_set(
    name: str, replicas: int, available: int | None = None, *, pods: int | None = None, **annotations: str
) -> ReplicaSet:
    """`pods`: how many its status still shows, where that is not what its spec asks for."""
    ready = replicas if available is None else available
    held = {f"deployment.kubernetes.io/{key}-replicas": value for key, value in annotations.items()}
    shown = replicas if pods is None else pods
    return ReplicaSet(
        metadata=ObjectMeta(name=name, annotations=held, creation_timestamp=name),
        spec=ReplicaSetSpec(replicas=replicas),
        status=ReplicaSetStatus(replicas=shown, ready_replicas=ready, available_replicas=ready),
    )


class TestSizes:
    @pytest.mark.parametrize(
        ("replicas", "surge", "unavailable", "expected"),
        [(10, "25%", "25%", (3, 2)), (1, "25%", "25%", (1, 0)), (3, 0, "10%", (0, 1)), (0, 1, 1, (1, 0))],
    )
    def test_percentages_round_for_safety(
        self, replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]
    ) -> None:
        wanted = of(replicas, surge, unavailable)
        assert (rollout.surge(wanted), rollout.unavailable(wanted)) == expected

    def test_new_grows_by_the_surge_first(self) -> None:
        old = [replica_set("1", 10)]
        assert rollout.new_size(of(10, 3, 2), None, old) == 3
        assert rollout.rolling(of(10, 3, 2), replica_set("2", 3, 0), old) == {"1": 8}

    def test_old_shrinks_only_as_far_as_enough_are_available(self) -> None:
        assert rollout.rolling(of(10, 3, 2), replica_set("2", 5, 0), [replica_set("1", 8)]) == {}
        assert rollout.rolling(of(10, 3, 2), replica_set("2", 5, 2), [replica_set("1", 8)]) == {"1": 6}

    def test_pods_that_the_last_step_took_away_are_not_available(self) -> None:
        shrunk = replica_set("1", 3, 4, pods=4)
        assert rollout.rolling(of(4, 1, 1), replica_set("2", 2, 1), [shrunk]) == {"1": 2}

    def test_new_waits_until_pods_that_were_taken_away_are_gone(self) -> None:
        shrunk = replica_set("1", 3, 4, pods=4)
        assert rollout.new_size(of(4, 1, 1), replica_set("2", 1, 0), [shrunk]) == 1
        assert rollout.new_size(of(4, 1, 1), replica_set("2", 1, 0), [replica_set("1", 3)]) == 2

    def test_pods_that_never_came_up_go_first(self) -> None:
        old = [replica_set("1", 8), replica_set("2", 2, 0)]
        sizes = rollout.rolling(of(10, 0, 2), replica_set("3", 0), old)
        assert sizes == {"2": 0}

    def test_scaling_half_way_is_proportional(self) -> None:
        new = replica_set("2", 5, desired="10", max="13")
        old = [replica_set("1", 8, desired="10", max="13")]
        assert rollout.scale(of(15, 3, 2), new, old) == {"1": 11, "2": 7}

    def test_scaling_to_nothing(self) -> None:
        new, old = replica_set("2", 5, desired="10", max="13"), [replica_set("1", 8, desired="10", max="13")]
        assert rollout.scale(of(0, 3, 2), new, old) == {"1": 0, "2": 0}


def test_hash_ignores_order_and_nulls() -> None:
    one = {"metadata": {"labels": {"a": "1"}}, "spec": {"x": 1, "y": None}}
    other = {"spec": {"x": 1}, "metadata": {"labels": {"a": "1"}}}
    assert template_hash(one, 0) == template_hash(other, 0) != template_hash(one, 1)
    labelled = {"spec": {"x": 1}, "metadata": {"labels": {"a": "1", HASH_LABEL: "zz"}}}
    assert same_template(one, labelled)


class Web:
    """The Deployment `web` of a cluster in which every pod becomes ready as soon as it is asked for."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster

    async def get(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.cluster.get(DEPLOYMENTS, "web")
        return found

    async def condition(self, type_: str, reason: str) -> dict[str, Any]:
        async def check() -> Any:
            for held in (await self.get()).get("status", {}).get("conditions", ()):
                if held["type"] == type_ and held["reason"] == reason:
                    return held
            return None

        found: dict[str, Any] = await self.cluster.until(check, f"{type_} {reason}")
        return found

    async def complete(self, *, generation: int = 0) -> dict[str, Any]:
        """What `kubectl rollout status` waits for, while pods come up."""

        async def check() -> Any:
            await self.cluster.run_pods()
            found = await self.get()
            status, wanted = found.get("status", {}), found["spec"]["replicas"]
            names = ("replicas", "updatedReplicas", "availableReplicas")
            done = status.get("observedGeneration", 0) >= max(generation, found["metadata"]["generation"])
            return found if done and all(status.get(name, 0) == wanted for name in names) else None

        found: dict[str, Any] = await self.cluster.until(check, "rollout complete")
        await self.condition("Progressing", "NewReplicaSetAvailable")
        return found

    async def sets(self) -> dict[str, ReplicaSet]:
        """ReplicaSets by the revision they hold."""
        found = await self.cluster.list(REPLICA_SETS, "default")
        return {each.metadata.annotations.get(REVISION, ""): each for each in found}


@pytest.fixture
async def web(cluster: Any) -> Web:
    cluster.start(ReplicaSetController)
    cluster.start(DeploymentController)
    return Web(cluster)


async def test_rolls_out(cluster: Any, web: Web) -> None:
    await cluster.create(DEPLOYMENTS, deployment())
    found = await web.complete()
    assert found["metadata"]["annotations"][REVISION] == "1"
    (only,) = (await web.sets()).values()
    assert only.metadata.name == f"web-{only.metadata.labels[HASH_LABEL]}"
    assert only.metadata.annotations["kubernetes.io/change-cause"] == "first"
    assert only.metadata.annotations["deployment.kubernetes.io/desired-replicas"] == "3"
    assert only.metadata.annotations["deployment.kubernetes.io/max-replicas"] == "4"
    await web.condition("Available", "MinimumReplicasAvailable")


async def test_update_never_leaves_too_few_or_too_many(cluster: Any, web: Web) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
    await cluster.create(DEPLOYMENTS, deployment(4, strategy=strategy))
    await web.complete()
    await cluster.patch(DEPLOYMENTS, "web", image("two"), kind="strategic")

    async def step() -> Any:
        pods = [pod for pod in await cluster.list(PODS, "default") if not pod.deleted]
        assert len(pods) <= 5
        assert sum(1 for pod in pods if pod.ready) >= 3
        waiting = [pod for pod in pods if not pod.ready]
        if waiting:
            await cluster.make_ready(waiting[0].metadata.name)
        images = [pod.spec.containers[0].image for pod in pods]
        return images == ["two"] * 4

    await cluster.until(step, "all pods are new")
    await web.complete()
    assert {r: s.spec.replicas for r, s in (await web.sets()).items()} == {"1": 0, "2": 4}


async def test_undo_gives_the_old_replica_set_a_new_revision(cluster: Any, web: Web) -> None:
    await cluster.create(DEPLOYMENTS, deployment(1))
    await web.complete()
    first = (await web.sets())["1"].metadata.name
    await cluster.patch(DEPLOYMENTS, "web", image("two"), kind="strategic")
    await web.complete()
    await cluster.patch(DEPLOYMENTS, "web", image("one"), kind="strategic")
    found = await web.complete()
    assert found["metadata"]["annotations"][REVISION] == "3"
    sets = await web.sets()
    assert sets["3"].metadata.name == first
    assert sets["3"].metadata.annotations["deployment.kubernetes.io/revision-history"] == "1"


async def test_recreate_ends_the_old_before_it_starts_the_new(cluster: Any, web: Web) -> None:
    await cluster.create(DEPLOYMENTS, deployment(2, strategy={"type": "Recreate"}))
    await web.complete()
    await cluster.patch(DEPLOYMENTS, "web", image("two"), kind="strategic")

    async def step() -> Any:
        images = {pod.spec.containers[0].image for pod in await cluster.list(PODS, "default")}
        assert len(images) <= 1
        return images == {"two"}

    await cluster.until(step)
    await web.complete()


async def test_paused_holds_a_new_template_but_scales(cluster: Any, web: Web) -> None:
    await cluster.create(DEPLOYMENTS, deployment(1))
    await web.complete()
    await cluster.patch(DEPLOYMENTS, "web", {"spec": {"paused": True, "replicas": 2}})
    await cluster.patch(DEPLOYMENTS, "web", image("two"), kind="strategic")
    await web.condition("Progressing", "DeploymentPaused")

    async def scaled() -> Any:
        return [each.spec.replicas for each in (await web.sets()).values()] == [2]

    await cluster.until(scaled)
    await cluster.patch(DEPLOYMENTS, "web", {"spec": {"paused": False}})
    await web.complete()
    assert len(await web.sets()) == 2


async def test_deadline_passes_and_recovers(cluster: Any, web: Web) -> None:
    await cluster.create(DEPLOYMENTS, deployment(1, progressDeadlineSeconds=60))
    await web.condition("Progressing", "NewReplicaSetCreated")
    await web.condition("Available", "MinimumReplicasUnavailable")
    await cluster.clock.advance(70)
    held = await web.condition("Progressing", "ProgressDeadlineExceeded")
    assert held["status"] == "False"
    await web.complete()


async def test_history_is_limited(cluster: Any, web: Web) -> None:
    await cluster.create(DEPLOYMENTS, deployment(1, revisionHistoryLimit=1))
    for name in ("two", "three", "four"):
        await web.complete()
        await cluster.patch(DEPLOYMENTS, "web", image(name), kind="strategic")
    await web.complete()

    async def limited() -> Any:
        return sorted(await web.sets()) == ["3", "4"]

    await cluster.until(limited)


async def test_name_collision_finds_another_hash(cluster: Any, web: Web) -> None:
    spec = deployment(1)
    whole = await cluster.create(DEPLOYMENTS, {**spec, "spec": {**spec["spec"], "paused": True}})
    hash_ = template_hash(whole["spec"]["template"], 0)
    other = {
        "metadata": {"name": f"web-{hash_}"},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "other"}},
            "template": {"metadata": {"labels": {"app": "other"}}, "spec": whole["spec"]["template"]["spec"]},
        },
    }  # fmt: skip
    await cluster.create(REPLICA_SETS, other)
    await cluster.patch(DEPLOYMENTS, "web", {"spec": {"paused": False}})
    found = await web.complete()
    assert found["status"]["collisionCount"] == 1
