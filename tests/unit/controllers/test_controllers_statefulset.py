"""StatefulSets as their users see them, and the pure plan behind."""

from __future__ import annotations

from typing import Any

from tiphys.api.meta import ObjectMeta, OwnerReference, Uid
from tiphys.controllers.controller_revisions import HASH
from tiphys.controllers.protection import PvcProtectionController
from tiphys.controllers.statefulset import StatefulSetController
from tiphys.controllers.statefulset_identity import references
from tiphys.controllers.statefulset_plan import ordinal_of, plan
from tiphys.kinds.apps.controllerrevision import CONTROLLER_REVISIONS
from tiphys.kinds.apps.statefulset import (
    STATEFUL_SETS,
    ClaimRetentionPolicy,
    Ordinals,
    RollingUpdateStatefulSet,
    StatefulSet,
    StatefulSetSpec,
    StatefulSetUpdateStrategy,
)
from tiphys.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS
from tiphys.kinds.core.pod import PODS, Pod, PodCondition, PodStatus

NOW = 1_700_000_000.0
GOING = "2023-11-14T22:13:20Z"


def stateful_set(replicas: int, image: str = "busybox", **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "s"}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    return {
        "metadata": {"name": "s"},
        "spec": {
            "replicas": replicas, "serviceName": "svc", "selector": {"matchLabels": {"app": "s"}},
            "template": template, **spec,
        },
    }  # fmt: skip


def model(replicas: int, *, partition: int = 0, unavailable: int | str = 1, **spec: Any) -> StatefulSet:
    rolling = RollingUpdateStatefulSet(partition, unavailable)
    spec.setdefault("update_strategy", StatefulSetUpdateStrategy("RollingUpdate", rolling))
    return StatefulSet(ObjectMeta(name="s", uid=Uid("s"), generation=1), StatefulSetSpec(replicas=replicas, **spec))


def pod(ordinal: int, revision: str = "new", *, ready: bool = True, phase: str = "Running", **meta: Any) -> Pod:
    conditions = [PodCondition("Ready", "True", last_transition_time="2023-11-14T22:00:00Z")] if ready else []
    name = f"s-{ordinal}"
    return Pod(
        ObjectMeta(name=name, uid=Uid(name), labels={HASH: revision}, **meta), status=PodStatus(phase, conditions)
    )


def does(owner: StatefulSet, *pods: Pod) -> tuple[list[int], list[str]]:
    planned = plan(owner, "old", "new", pods, NOW)
    return [ordinal for ordinal, _ in planned.create], [p.metadata.name for p in (*planned.delete, *planned.ended)]


def test_only_its_own_names_are_its_own():
    assert [ordinal_of("s", name) for name in ("s-0", "s-12", "s-01", "s-x", "t-1", "s-1-2")] == [
        0, 12, None, None, None, None,
    ]  # fmt: skip
    assert ordinal_of("s-1", "s-1-2") == 2


def test_pods_are_made_in_order_each_after_the_one_before_is_ready():
    assert does(model(3)) == ([0], [])
    assert does(model(3), pod(0, ready=False)) == ([], [])
    assert does(model(3), pod(0)) == ([1], [])
    assert does(model(3), pod(0, deletion_timestamp=GOING)) == ([], [])
    assert does(model(3, ordinals=Ordinals(5)), pod(5)) == ([6], [])
    assert does(model(3, pod_management_policy="Parallel")) == ([0, 1, 2], [])


def test_surplus_pods_go_from_above_one_at_a_time():
    assert does(model(1), pod(0), pod(1), pod(2)) == ([], ["s-2"])
    assert does(model(1), pod(0), pod(1), pod(2, deletion_timestamp=GOING)) == ([], [])
    assert does(model(1), pod(0, ready=False), pod(1)) == ([], [])
    assert does(model(1), pod(0), pod(1, ready=False), pod(2)) == ([], ["s-2"])
    assert does(model(1), pod(0), pod(1, ready=False), pod(2, ready=False)) == ([], [])
    parallel = model(1, pod_management_policy="Parallel")
    assert does(parallel, pod(0, ready=False), pod(1), pod(2)) == ([], ["s-2", "s-1"])
    assert does(model(1, ordinals=Ordinals(1)), pod(0), pod(1)) == ([], ["s-0"])


def test_a_pod_that_ended_is_replaced():
    assert does(model(2), pod(0, phase="Failed", ready=False), pod(1)) == ([], ["s-0"])
    assert does(model(1), pod(0, phase="Succeeded", ready=False)) == ([], ["s-0"])


def test_updates_go_from_above_down_to_the_partition():
    old = [pod(0, "old"), pod(1, "old"), pod(2, "old")]
    assert does(model(3), *old) == ([], ["s-2"])
    assert does(model(3), old[0], old[1], pod(2)) == ([], ["s-1"])
    assert does(model(3, partition=2), old[0], old[1], pod(2)) == ([], [])
    assert does(model(3, update_strategy=StatefulSetUpdateStrategy("OnDelete")), *old) == ([], [])
    planned = plan(model(3, partition=2), "old", "new", [], NOW)
    assert planned.create == [(0, "old")]
    parallel = {"pod_management_policy": "Parallel"}
    assert does(model(3, **parallel), old[0], old[1], pod(2, ready=False)) == ([], [])
    assert does(model(3, unavailable=2, **parallel), *old) == ([], ["s-2", "s-1"])
    assert does(model(3, unavailable=2, **parallel), old[0], old[1], pod(2, ready=False)) == ([], ["s-1"])


def test_a_pod_that_cannot_run_is_not_waited_for_once_its_template_is_mended():
    stuck = {"ready": False, "phase": "Pending"}
    assert does(model(2), pod(0, "old"), pod(1, "old", **stuck)) == ([], ["s-1"])
    assert does(model(2), pod(0, "old", **stuck)) == ([], ["s-0"])
    assert does(model(2), pod(0, **stuck)) == ([], [])
    assert does(model(2, partition=1), pod(0, "old", **stuck)) == ([], [])
    # One that runs but is not ready may become so.
    assert does(model(2), pod(0, "old", ready=False), pod(1, "old")) == ([], [])


def test_the_status_tells_of_both_revisions_until_the_update_is_complete():
    status = plan(model(2), "old", "new", [pod(0, "old"), pod(1)], NOW).status
    assert (status["currentReplicas"], status["updatedReplicas"], status["currentRevision"]) == (1, 1, "old")
    status = plan(model(2), "old", "new", [pod(0), pod(1)], NOW).status
    assert (status["currentReplicas"], status["updatedReplicas"], status["currentRevision"]) == (2, 2, "new")


def test_who_takes_a_claim_along():
    def owners(deleted: str, scaled: str, going: Pod | None, held: list[OwnerReference]) -> list[tuple[str, bool]]:
        owner = model(1, persistent_volume_claim_retention_policy=ClaimRetentionPolicy(deleted, scaled))
        return [(change["uid"], "$patch" not in change) for change in references(owner, going, held)]

    its = OwnerReference("apps/v1", "StatefulSet", "s", Uid("s"))
    assert owners("Retain", "Retain", pod(1), []) == []
    assert owners("Delete", "Retain", pod(1), []) == [("s", True)]
    assert owners("Delete", "Retain", None, [its]) == []
    assert owners("Retain", "Retain", None, [its]) == [("s", False)]
    assert owners("Retain", "Delete", None, []) == []
    assert owners("Delete", "Delete", pod(1), [its]) == [("s-1", True), ("s", False)]


async def settled(cluster: Any, **wanted: Any) -> Any:
    async def check() -> Any:
        await cluster.run_pods()
        found = await cluster.get(STATEFUL_SETS, "s")
        status = found["status"]
        fresh = status.get("observedGeneration") == found["metadata"]["generation"]
        return found if fresh and all(status.get(name, 0) == value for name, value in wanted.items()) else None

    return await cluster.until(check, str(wanted))


async def images(cluster: Any) -> dict[str, str]:
    return {p.metadata.name: p.spec.containers[0].image for p in await cluster.list(PODS, "default")}


CLAIM = {
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


async def test_a_pod_waits_until_the_claim_before_its_own_has_gone(cluster: Any):
    meta = {"name": "data-s-0", "labels": {"app": "s"}, "finalizers": ["example.com/held"]}
    old = await cluster.create(PERSISTENT_VOLUME_CLAIMS, {"metadata": meta, "spec": CLAIM["spec"]})
    await cluster.delete(PERSISTENT_VOLUME_CLAIMS, "data-s-0")
    cluster.start(StatefulSetController)
    await cluster.create(STATEFUL_SETS, stateful_set(1, volumeClaimTemplates=[CLAIM]))
    await settled(cluster, replicas=0)
    assert await cluster.get(PODS, "s-0") is None
    await cluster.patch(PERSISTENT_VOLUME_CLAIMS, "data-s-0", {"metadata": {"finalizers": None}})
    await cluster.until(lambda: cluster.get(PODS, "s-0"), "the pod")
    assert (await cluster.get(PERSISTENT_VOLUME_CLAIMS, "data-s-0"))["metadata"]["uid"] != old["metadata"]["uid"]


async def test_a_claim_that_a_pod_waits_for_is_made_again(cluster: Any):
    cluster.start(StatefulSetController)
    cluster.start(PvcProtectionController)
    await cluster.create(STATEFUL_SETS, stateful_set(1, volumeClaimTemplates=[CLAIM]))
    await cluster.until(lambda: cluster.get(PODS, "s-0"), "the pod")
    old = await cluster.get(PERSISTENT_VOLUME_CLAIMS, "data-s-0")
    await cluster.delete(PERSISTENT_VOLUME_CLAIMS, "data-s-0")

    async def anew() -> bool:
        found = await cluster.get(PERSISTENT_VOLUME_CLAIMS, "data-s-0")
        return bool(found) and found["metadata"]["uid"] != old["metadata"]["uid"]

    await cluster.until(anew)


async def test_pods_have_names_labels_and_claims_that_outlive_them(cluster: Any):
    cluster.start(StatefulSetController)
    await cluster.create(STATEFUL_SETS, stateful_set(2, volumeClaimTemplates=[CLAIM]))
    await settled(cluster, readyReplicas=2, availableReplicas=2, updatedReplicas=2)
    made = await cluster.get(PODS, "s-1")
    labels = made["metadata"]["labels"]
    assert labels["statefulset.kubernetes.io/pod-name"] == "s-1"
    assert labels["apps.kubernetes.io/pod-index"] == "1"
    assert (made["spec"]["hostname"], made["spec"]["subdomain"]) == ("s-1", "svc")
    assert made["spec"]["volumes"][0] == {"name": "data", "persistentVolumeClaim": {"claimName": "data-s-1"}}
    claims = sorted(c.metadata.name for c in await cluster.list(PERSISTENT_VOLUME_CLAIMS, "default"))
    assert claims == ["data-s-0", "data-s-1"]
    await cluster.patch(STATEFUL_SETS, "s", {"spec": {"replicas": 0}})
    await settled(cluster, replicas=0)
    assert len(await cluster.list(PERSISTENT_VOLUME_CLAIMS, "default")) == 2


async def test_a_rolling_update_and_back(cluster: Any):
    cluster.start(StatefulSetController)
    await cluster.create(STATEFUL_SETS, stateful_set(2))
    first = (await settled(cluster, readyReplicas=2))["status"]["currentRevision"]

    async def update(image: str) -> Any:
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
        await cluster.patch(STATEFUL_SETS, "s", patch, kind="strategic")

        async def done() -> Any:
            found = await settled(cluster, readyReplicas=2, updatedReplicas=2)
            status = found["status"]
            return status if status["currentRevision"] == status["updateRevision"] else None

        return await cluster.until(done)

    status = await update("busybox:2")
    assert status["currentRevision"] != first
    assert set((await images(cluster)).values()) == {"busybox:2"}
    assert (await update("busybox"))["currentRevision"] == first
    numbers = sorted(each.revision for each in await cluster.list(CONTROLLER_REVISIONS, "default"))
    assert numbers == [2, 3]


async def test_a_partition_holds_the_update_up(cluster: Any):
    cluster.start(StatefulSetController)
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    await cluster.create(STATEFUL_SETS, stateful_set(2, updateStrategy=rolling))
    await settled(cluster, readyReplicas=2)
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "busybox:2"}]}}}}
    await cluster.patch(STATEFUL_SETS, "s", patch, kind="strategic")
    await settled(cluster, readyReplicas=2, updatedReplicas=1, currentReplicas=1)
    await cluster.delete(PODS, "s-0", grace=0)
    await cluster.until(lambda: cluster.get(PODS, "s-0"), "s-0 again")
    await settled(cluster, readyReplicas=2, updatedReplicas=1, currentReplicas=1)
    assert await images(cluster) == {"s-0": "busybox", "s-1": "busybox:2"}


async def test_a_failed_pod_is_made_anew(cluster: Any):
    cluster.start(StatefulSetController)
    await cluster.create(STATEFUL_SETS, stateful_set(1))
    await settled(cluster, readyReplicas=1)
    uid = (await cluster.get(PODS, "s-0"))["metadata"]["uid"]
    await cluster.patch(PODS, "s-0", {"status": {"phase": "Failed"}}, subresource="status")

    async def anew() -> bool:
        found = await cluster.get(PODS, "s-0")
        return bool(found) and found["metadata"]["uid"] != uid

    await cluster.until(anew)
