"""DaemonSets as their users see them, and the pure plan behind."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api.meta import ObjectMeta, Uid
from tiphys.controllers.controller_revisions import HASH
from tiphys.controllers.daemonset import DaemonSetController
from tiphys.controllers.daemonset_placement import bind, fit
from tiphys.controllers.daemonset_plan import plan
from tiphys.kinds.apps.controllerrevision import CONTROLLER_REVISIONS
from tiphys.kinds.apps.daemonset import (
    DAEMON_SETS,
    DaemonSet,
    DaemonSetSpec,
    DaemonSetUpdateStrategy,
    RollingUpdateDaemonSet,
)
from tiphys.kinds.core.affinity import Toleration
from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.core.node import NODES, Node, NodeSpec, Taint
from tiphys.kinds.core.pod import PODS, Pod, PodCondition, PodStatus
from tiphys.kinds.core.podspec import PodSpec, PodTemplateSpec

NOW = 1_700_000_000.0


def daemon_set(image: str = "busybox", **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    template["spec"] |= spec.pop("pod", {})
    return {
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"app": "d"}}, "template": template, **spec},
    }


def model(unavailable: int | str = 1, surge: int | str = 0, **spec: Any) -> DaemonSet:
    rolling = RollingUpdateDaemonSet(unavailable, surge)
    spec.setdefault("update_strategy", DaemonSetUpdateStrategy("RollingUpdate", rolling))
    return DaemonSet(metadata=ObjectMeta(name="d", generation=1), spec=DaemonSetSpec(**spec))


def nodes(count: int) -> list[Node]:
    return [Node(metadata=ObjectMeta(name=f"n{index}")) for index in range(count)]


def pod(node: str, hash_: str, *, ready: bool = True, phase: str = "Running", **meta: Any) -> Pod:
    conditions = [PodCondition("Ready", "True", last_transition_time="2023-11-14T22:00:00Z")] if ready else []
    name = f"{node}-{hash_}"
    return Pod(
        ObjectMeta(name=name, uid=Uid(name), labels={HASH: hash_}, **meta), PodSpec(node_name=node),
        PodStatus(phase, conditions),
    )  # fmt: skip


def names(pods: list[Pod]) -> list[str]:
    return [each.metadata.name for each in pods]


def test_a_node_that_is_not_selected_or_tainted_gets_none():
    def runs(spec: PodSpec, *taints: Taint, **labels: str) -> tuple[bool, bool]:
        found = fit(spec, Node(ObjectMeta(name="n", labels=labels), NodeSpec(taints=list(taints))))
        return found.run, found.stay

    assert runs(PodSpec()) == (True, True)
    assert runs(PodSpec(node_selector={"a": "b"})) == (False, False)
    assert runs(PodSpec(node_selector={"a": "b"}), a="b") == (True, True)
    assert runs(PodSpec(node_name="other")) == (False, False)
    assert runs(PodSpec(), Taint("mine", "NoSchedule")) == (False, True)
    assert runs(PodSpec(), Taint("mine", "NoExecute")) == (False, False)
    assert runs(PodSpec(tolerations=[Toleration(operator="Exists")]), Taint("mine", "NoExecute")) == (True, True)
    assert runs(PodSpec(), Taint("node.kubernetes.io/unschedulable", "NoSchedule")) == (True, True)
    assert runs(PodSpec(), Taint("node.kubernetes.io/not-ready", "NoExecute")) == (True, True)
    network = Taint("node.kubernetes.io/network-unavailable", "NoSchedule")
    assert runs(PodSpec(), network) == (False, True)
    assert runs(PodSpec(host_network=True), network) == (True, True)


def test_a_pod_is_bound_to_its_node_and_bears_its_troubles():
    required, preferred = ("requiredDuringSchedulingIgnoredDuringExecution", "preferred")
    affinity = {"nodeAffinity": {required: {"nodeSelectorTerms": []}, preferred: ["kept"]}, "podAffinity": {}}
    own = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
    made = bind({"affinity": affinity, "tolerations": [own, {"key": "mine"}]}, PodSpec(), "n1")
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}
    assert made["affinity"]["nodeAffinity"] == {required: {"nodeSelectorTerms": [term]}, preferred: ["kept"]}
    assert made["affinity"]["podAffinity"] == {}
    assert made["tolerations"][0] == {"key": "mine"}
    assert [t for t in made["tolerations"] if "tolerationSeconds" in t] == []
    assert len(made["tolerations"]) == 7


def test_a_rolling_update_takes_down_no_more_than_the_limit():
    pods = [pod(f"n{index}", "old") for index in range(4)]
    assert names(plan(model(2), "new", nodes(4), pods, NOW).delete) == ["n0-old", "n1-old"]
    assert names(plan(model("50%"), "new", nodes(4), pods, NOW).delete) == ["n0-old", "n1-old"]
    pods[3] = pod("n3", "new", ready=False)
    assert names(plan(model(1), "new", nodes(4), pods, NOW).delete) == []
    assert names(plan(model(2), "new", nodes(4), pods, NOW).delete) == ["n0-old"]


def test_old_pods_that_are_broken_are_replaced_beyond_the_limit():
    pods = [pod("n0", "old", ready=False), pod("n1", "old", ready=False), pod("n2", "old")]
    assert names(plan(model(1), "new", nodes(3), pods, NOW).delete) == ["n0-old", "n1-old"]


def test_a_pod_that_is_going_counts_as_unavailable():
    pods = [pod("n0", "old", deletion_timestamp="2023-11-14T22:13:20Z"), pod("n1", "old")]
    planned = plan(model(1), "new", nodes(2), pods, NOW)
    assert (planned.create, planned.delete) == ([], [])


def test_on_delete_leaves_old_pods_alone():
    planned = plan(
        model(update_strategy=DaemonSetUpdateStrategy("OnDelete")), "new", nodes(2), [pod("n0", "old")], NOW
    )
    assert (planned.create, planned.delete) == (["n1"], [])


def test_surging_makes_the_new_pod_first():
    pods = [pod("n0", "old"), pod("n1", "old"), pod("n2", "old")]
    planned = plan(model(0, 1), "new", nodes(3), pods, NOW)
    assert (planned.create, planned.delete) == (["n0"], [])
    pods.append(pod("n0", "new", ready=False, creation_timestamp="2023-11-14T22:10:00Z"))
    planned = plan(model(0, 1), "new", nodes(3), pods, NOW)
    assert (planned.create, planned.delete) == ([], [])
    assert planned.status["numberAvailable"] == 3
    pods[3] = pod("n0", "new", creation_timestamp="2023-11-14T22:10:00Z")
    planned = plan(model(0, 1), "new", nodes(3), pods, NOW)
    assert (planned.create, names(planned.delete)) == (["n1"], ["n0-old"])


def test_pods_of_a_node_that_is_gone_or_no_longer_wanted():
    spec = DaemonSetSpec(template=PodTemplateSpec(spec=PodSpec(node_selector={"a": "b"})))
    owner = DaemonSet(ObjectMeta(name="d"), spec)
    planned = plan(owner, "h", nodes(1), [pod("n0", "h"), pod("gone", "h")], NOW)
    assert names(planned.delete) == ["n0-h"]
    assert planned.status["numberMisscheduled"] == 1


def test_availability_waits_for_min_ready_seconds():
    conditions = [PodCondition("Ready", "True", last_transition_time="2023-11-14T22:13:15Z")]
    young = Pod(ObjectMeta(name="y", labels={HASH: "h"}), PodSpec(node_name="n0"), PodStatus("Running", conditions))
    planned = plan(model(min_ready_seconds=10), "h", nodes(1), [young], NOW)
    assert (planned.status["numberReady"], planned.status["numberAvailable"]) == (1, 0)
    assert planned.again == pytest.approx(5.0)


async def add_node(cluster: Any, name: str) -> None:
    """A node without the taint that new ones bear until they are ready."""
    await cluster.add_node(name)
    await cluster.patch(NODES, name, {"spec": {"taints": None}})


async def run(cluster: Any, **query: str) -> None:
    """Schedule every pod where its affinity says, and make it ready."""
    for each in await cluster.list(PODS, "default", **query):
        if not each.spec.node_name and not each.deleted:
            term = each.spec.affinity.node_affinity.required.node_selector_terms[0]
            await cluster.bind(each.metadata.name, term.match_fields[0].values[0])
    await cluster.run_pods()


async def settled(cluster: Any, **wanted: int) -> Any:
    async def check() -> Any:
        await run(cluster)
        found = await cluster.get(DAEMON_SETS, "d")
        status = found["status"]
        fresh = status.get("observedGeneration") == found["metadata"]["generation"]
        return found if fresh and all(status.get(name, 0) == value for name, value in wanted.items()) else None

    return await cluster.until(check, str(wanted))


async def test_every_node_gets_a_pod_also_a_new_one(cluster: Any):
    await add_node(cluster, "n0")
    cluster.start(DaemonSetController)
    await cluster.create(DAEMON_SETS, daemon_set())
    await settled(cluster, desiredNumberScheduled=1, numberAvailable=1, updatedNumberScheduled=1)
    await add_node(cluster, "n1")
    await settled(cluster, desiredNumberScheduled=2, numberAvailable=2, numberUnavailable=0)
    made = await cluster.list(PODS, "default")
    assert sorted(each.spec.node_name for each in made) == ["n0", "n1"]
    await cluster.patch(NODES, "n1", {"metadata": {"labels": {"a": "b"}}})
    template = {"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}}
    await cluster.patch(DAEMON_SETS, "d", template)
    await settled(
        cluster, desiredNumberScheduled=1, numberAvailable=1, numberMisscheduled=0, updatedNumberScheduled=1
    )

    async def moved() -> bool:
        left = [each for each in await cluster.list(PODS, "default") if not each.deleted]
        return [each.spec.node_name for each in left] == ["n1"]

    await cluster.until(moved)


async def test_a_template_that_returns_gets_its_old_revision_with_a_new_number(cluster: Any):
    await add_node(cluster, "n0")
    cluster.start(DaemonSetController)
    await cluster.create(DAEMON_SETS, daemon_set(revisionHistoryLimit=1))
    await settled(cluster, numberAvailable=1)
    (first,) = await cluster.list(CONTROLLER_REVISIONS, "default")

    async def update(image: str) -> None:
        containers = [{"name": "c", "image": image}]
        patch = {"spec": {"template": {"spec": {"containers": containers}}}}
        await cluster.patch(DAEMON_SETS, "d", patch, kind="strategic")
        await settled(cluster, updatedNumberScheduled=1, numberAvailable=1)

    await update("busybox:2")
    await update("busybox")

    async def numbers() -> Any:
        found = await cluster.list(CONTROLLER_REVISIONS, "default")
        by_name = {each.metadata.name: each.revision for each in found}
        return by_name if by_name.get(first.metadata.name) == 3 else None

    assert sorted((await cluster.until(numbers)).values()) == [2, 3]
    hashes = {each.metadata.labels[HASH] for each in await cluster.list(PODS, "default") if not each.deleted}
    assert hashes == {first.metadata.labels[HASH]}
    await update("busybox:4")

    async def cut() -> Any:
        found = await cluster.list(CONTROLLER_REVISIONS, "default")
        return sorted(each.revision for each in found) == [3, 4]

    await cluster.until(cut, "the oldest revision gone")


async def test_a_pod_that_failed_is_replaced_then_with_back_off(cluster: Any):
    await add_node(cluster, "n0")
    cluster.start(DaemonSetController)
    await cluster.create(DAEMON_SETS, daemon_set())
    await settled(cluster, numberAvailable=1)

    async def fail() -> str:
        (held,) = await cluster.list(PODS, "default")
        await cluster.patch(PODS, held.metadata.name, {"status": {"phase": "Failed"}}, subresource="status")
        return held.metadata.uid

    async def replaced(uid: str) -> None:
        async def check() -> bool:
            held = await cluster.list(PODS, "default")
            return bool(held) and uid not in [each.metadata.uid for each in held]

        await cluster.until(check, "another pod")

    await replaced(await fail())
    await settled(cluster, numberAvailable=1)
    uid = await fail()
    await cluster.until(lambda: _event(cluster, "FailedDaemonPod"))
    assert [each.metadata.uid for each in await cluster.list(PODS, "default")] == [uid]
    await cluster.clock.advance(2)
    await replaced(uid)


async def _event(cluster: Any, reason: str) -> bool:
    return any(each.reason == reason for each in await cluster.list(EVENTS, "default"))
