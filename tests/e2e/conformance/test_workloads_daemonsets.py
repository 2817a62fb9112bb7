from __future__ import annotations

import pytest

from conformance.marks import upstream
from conformance.workloads import Kind, check_collection, check_status_verbs, template, unique, version

pytestmark = pytest.mark.root

LABELS = {"app": "daemon"}
SPEC = {"selector": {"matchLabels": LABELS}, "template": template(LABELS)}


@pytest.fixture
def sets(rest, namespace) -> Kind:
    return Kind(rest, "apps/v1", "daemonsets", namespace)


@pytest.fixture
def pods(rest, namespace) -> Kind:
    return Kind(rest, "v1", "pods", namespace)


def running(rest, pods: Kind, count: int, without: str = "") -> list[dict]:
    def ready(answer) -> bool:
        found = [p for p in answer.body["items"] if p["metadata"]["uid"] != without]
        return len(found) == len(answer.body["items"]) == count and all(
            p["status"].get("phase") == "Running" for p in found
        )

    return rest.until(pods.path, ready, 40, labelSelector="app=daemon").body["items"]


@upstream("[sig-apps] Daemon set [Serial] should run and stop simple daemon [Conformance]")
def test_every_node_runs_a_pod_and_gets_another_for_one_that_goes(rest, sets, pods):
    nodes = len(rest.ok("GET", "/api/v1/nodes")["items"])
    sets.create("d", SPEC)
    sets.until("d", numberAvailable=nodes, desiredNumberScheduled=nodes)
    first = running(rest, pods, nodes)[0]
    pods.delete(first["metadata"]["name"])
    running(rest, pods, nodes, without=first["metadata"]["uid"])
    # What failed is replaced as well.
    (second, *_) = running(rest, pods, nodes)
    pods.merge(second["metadata"]["name"], {"status": {"phase": "Failed"}}, "/status")
    running(rest, pods, nodes, without=second["metadata"]["uid"])
    sets.delete("d")
    rest.until(pods.path, lambda answer: not answer.body["items"], labelSelector="app=daemon")


@upstream("[sig-apps] Daemon set [Serial] should run and stop complex daemon [Conformance]")
def test_only_nodes_with_the_label_run_a_pod(rest, sets, pods):
    node, label = rest.ok("GET", "/api/v1/nodes")["items"][0]["metadata"]["name"], unique("color")
    sets.create("d", {**SPEC, "template": template(LABELS, nodeSelector={label: "blue"})})
    try:
        sets.until("d", desiredNumberScheduled=0)
        assert pods.list("app=daemon") == []
        rest.merge(f"/api/v1/nodes/{node}", {"metadata": {"labels": {label: "blue"}}})
        sets.until("d", numberAvailable=1)
        assert running(rest, pods, 1)[0]["spec"]["nodeName"] == node
        rest.merge(f"/api/v1/nodes/{node}", {"metadata": {"labels": {label: "green"}}})
        rest.until(pods.path, lambda answer: not answer.body["items"], labelSelector="app=daemon")
        rolling = {"updateStrategy": {"type": "RollingUpdate"}}
        selector = {"template": {"spec": {"nodeSelector": {label: "green"}}}}
        sets.merge("d", {"spec": {**rolling, **selector}})
        sets.until("d", numberAvailable=1, updatedNumberScheduled=1)
    finally:
        rest.merge(f"/api/v1/nodes/{node}", {"metadata": {"labels": {label: None}}})


@upstream(
    "[sig-apps] Daemon set [Serial] should update pod when spec was updated and update strategy is RollingUpdate [Conformance]"
)
def test_a_rolling_update_replaces_every_pod_and_goes_back(rest, sets, pods, cluster, namespace):
    nodes = len(rest.ok("GET", "/api/v1/nodes")["items"])
    sets.create("d", SPEC)
    sets.until("d", numberAvailable=nodes)
    revisions = Kind(rest, "apps/v1", "controllerrevisions", namespace)
    (first,) = revisions.list("app=daemon")
    mark = "controller-revision-hash"
    assert running(rest, pods, nodes)[0]["metadata"]["labels"][mark] == first["metadata"]["labels"][mark]
    sets.strategic("d", version("2"))
    sets.until("d", numberAvailable=nodes, updatedNumberScheduled=nodes)
    hashes = {pod["metadata"]["labels"][mark] for pod in running(rest, pods, nodes)}
    assert first["metadata"]["labels"][mark] not in hashes
    assert sorted(each["revision"] for each in revisions.list("app=daemon")) == [1, 2]

    def kubectl(*words: str) -> str:
        return cluster.kubectl("-n", namespace, "rollout", *words)

    assert "successfully rolled out" in kubectl("status", "daemonset/d", "--timeout=30s")
    assert kubectl("history", "daemonset/d").split()[-4:] == ["1", "<none>", "2", "<none>"]
    kubectl("undo", "daemonset/d")
    kubectl("status", "daemonset/d", "--timeout=30s")
    hashes = {pod["metadata"]["labels"][mark] for pod in running(rest, pods, nodes)}
    assert hashes == {first["metadata"]["labels"][mark]}
    assert sorted(each["revision"] for each in revisions.list("app=daemon")) == [2, 3]


@upstream("[sig-apps] Daemon set [Serial] should list and delete a collection of DaemonSets [Conformance]")
def test_a_collection_is_listed_and_deleted(sets):
    check_collection(sets, unique("d"), SPEC)


@upstream("[sig-apps] Daemon set [Serial] should verify changes to a daemon set status [Conformance]")
def test_the_status_is_read_replaced_and_patched(sets):
    sets.create("d", SPEC)
    sets.until("d", numberAvailable=1)
    check_status_verbs(sets, "d")
