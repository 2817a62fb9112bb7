"""What has to be done to have objects as they were, and what became of one of them."""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.main.backup.history import Change
from tiphys.main.undo.plan import steps
from tiphys.main.undo.timeline import timeline


def obj(kind: str, name: str, spec: Any = None, **meta: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": kind, "spec": spec or {}, "status": {"seen": "x"},
        "metadata": {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": "7", **meta},
    }  # fmt: skip


def key(plural: str, name: str, group: str = "core") -> str:
    return f"/registry/{group}/{plural}/ns/{name}"


def brief(then: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, str]]:
    return [(step.action, step.name) for step in steps(then, now)]


def test_what_is_missing_is_created_what_differs_restored_what_is_new_deleted() -> None:
    then = {key("configmaps", "a"): obj("ConfigMap", "a"), key("services", "s"): obj("Service", "s", {"x": 1})}
    now = {key("services", "s"): obj("Service", "s", {"x": 2}), key("secrets", "n"): obj("Secret", "n")}
    assert brief(then, now) == [("create", "configmap/a"), ("restore", "service/s"), ("delete", "secret/n")]


def test_what_is_created_is_a_new_object_and_what_is_restored_the_one_that_is_there() -> None:
    then = {key("configmaps", "a"): obj("ConfigMap", "a", {"x": 1}, generation=3, labels={"l": "1"})}
    (made,) = steps(then, {})
    assert made.obj["metadata"] == {"name": "a", "namespace": "ns", "labels": {"l": "1"}}
    assert "status" not in made.obj
    (back,) = steps(then, {key("configmaps", "a"): obj("ConfigMap", "a", {"x": 2}, uid="new", resourceVersion="9")})
    assert back.obj["metadata"]["uid"] == "new"
    assert back.obj["metadata"]["resourceVersion"] == "9"
    assert back.changed == ("metadata.labels: {'l': '1'} -> (none)",) or "spec.x: 2 -> 1" in back.changed


def test_objects_with_an_owner_and_derived_ones_are_left_alone() -> None:
    owned = obj(
        "ReplicaSet", "r", ownerReferences=[{"controller": True, "uid": "u", "kind": "Deployment", "name": "d"}]
    )
    then = {
        key("replicasets", "r", "apps"): owned, key("events", "e"): obj("Event", "e"),
        key("endpoints", "w"): obj("Endpoints", "w"),
    }  # fmt: skip
    assert brief(then, {}) == []
    assert brief({}, then) == []


def test_status_alone_is_no_difference() -> None:
    then, now = obj("Service", "s"), {**obj("Service", "s"), "status": {"seen": "y"}}
    assert brief({key("services", "s"): then}, {key("services", "s"): now}) == []


def test_a_pod_of_its_own_is_created_for_any_node_but_never_changed() -> None:
    then = obj("Pod", "p", {"nodeName": "gone", "containers": []})
    (step,) = steps({key("pods", "p"): then}, {})
    assert step.obj["spec"] == {"containers": []}
    assert brief({key("pods", "p"): then}, {key("pods", "p"): obj("Pod", "p", {"containers": [1]})}) == []


def test_what_others_need_comes_first() -> None:
    then = {
        key("pods", "p"): obj("Pod", "p"), key("deployments", "d", "apps"): obj("Deployment", "d"),
        key("serviceaccounts", "a"): obj("ServiceAccount", "a"), key("configmaps", "c"): obj("ConfigMap", "c"),
    }  # fmt: skip
    names = [name for _, name in brief(then, {})]
    assert names == ["serviceaccount/a", "configmap/c", "deployment/d", "pod/p"]
    assert [name for _, name in brief({}, then)] == names[::-1]


def test_a_timeline_tells_creation_change_status_and_deletion() -> None:
    first = obj("Deployment", "d", {"replicas": 1}, creationTimestamp="1970-01-01T00:16:40Z")
    second = {**first, "spec": {"replicas": 2}}
    third = {**second, "status": {"seen": "y"}}
    found = list(timeline([
        Change("k", number, 1000.0 + number, orjson.dumps(state) if state else None)
        for number, state in enumerate([first, second, third, None])
    ]))  # fmt: skip
    assert [entry.what for entry in found] == ["created", "changed", "status", "deleted"]
    assert found[1].fields == ("spec.replicas: 1 -> 2",)


def test_a_history_that_begins_later_says_only_that_it_was_known() -> None:
    old = obj("ConfigMap", "a", creationTimestamp="1970-01-01T00:00:00Z")
    (entry,) = timeline([Change("k", 5, 10_000.0, orjson.dumps(old))])
    assert entry.what == "known"
