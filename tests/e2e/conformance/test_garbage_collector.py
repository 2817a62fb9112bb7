from __future__ import annotations

import pytest
from real_cluster import IMAGE

from conformance.marks import upstream

pytestmark = pytest.mark.root

CONTAINER = {"name": "c", "image": IMAGE, "imagePullPolicy": "Never", "env": [{"name": "VERSION", "value": "1"}]}


def template(name: str) -> dict:
    spec = {"containers": [CONTAINER], "terminationGracePeriodSeconds": 1}
    return {"metadata": {"labels": {"gc": name}}, "spec": spec}


@pytest.fixture
def pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


@pytest.fixture
def controllers(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/replicationcontrollers"


def controller(rest, controllers: str, name: str, replicas: int) -> None:
    spec = {"replicas": replicas, "selector": {"gc": name}, "template": template(name)}
    rest.ok("POST", controllers, {"metadata": {"name": name}, "spec": spec})


def count(rest, path: str, name: str, wanted: int) -> list[dict]:
    return rest.until(path, lambda a: len(a.body["items"]) == wanted, labelSelector=f"gc={name}").body["items"]


def delete(rest, path: str, policy: str) -> None:
    rest.ok("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy})


@upstream("[sig-api-machinery] Garbage collector should delete pods created by rc when not orphaning [Conformance]")
def test_the_pods_of_a_deleted_controller_go(rest, pods, controllers):
    controller(rest, controllers, "a", 2)
    count(rest, pods, "a", 2)
    delete(rest, f"{controllers}/a", "Background")
    assert rest("GET", f"{controllers}/a").code == 404
    count(rest, pods, "a", 0)


@upstream(
    "[sig-api-machinery] Garbage collector should orphan pods created by rc if delete options say so [Serial] [Conformance]"
)
def test_orphaned_pods_stay_without_an_owner(rest, pods, controllers):
    controller(rest, controllers, "b", 10)
    count(rest, pods, "b", 10)
    delete(rest, f"{controllers}/b", "Orphan")
    rest.until(f"{controllers}/b", lambda answer: answer.code == 404)
    left = count(rest, pods, "b", 10)
    assert not any(pod["metadata"].get("ownerReferences") or pod["metadata"].get("deletionTimestamp") for pod in left)
    rest.ok("DELETE", pods, labelSelector="gc=b", gracePeriodSeconds="0")


@upstream(
    "[sig-api-machinery] Garbage collector should keep the rc around until all its pods are deleted if the deleteOptions says so [Serial] [Conformance]"
)
def test_a_controller_waits_for_its_pods_in_the_foreground(rest, pods, controllers):
    controller(rest, controllers, "c", 10)
    count(rest, pods, "c", 10)
    delete(rest, f"{controllers}/c", "Foreground")
    while True:
        found = rest("GET", f"{controllers}/c")
        if found.code == 404:
            break
        assert "foregroundDeletion" in found.body["metadata"]["finalizers"]
        # A pod may still be on its way out when asked for, but not once the controller is seen gone.
        rest.ok("GET", pods, labelSelector="gc=c")
    assert rest.ok("GET", pods, labelSelector="gc=c")["items"] == []


@upstream(
    "[sig-api-machinery] Garbage collector should delete RS created by deployment when not orphaning [Conformance]"
)
def test_the_replica_sets_of_a_deleted_deployment_go(rest, namespace, pods):
    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    sets = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
    spec = {"replicas": 2, "selector": {"matchLabels": {"gc": "d"}}, "template": template("d")}
    rest.ok("POST", deployments, {"metadata": {"name": "d"}, "spec": spec})
    count(rest, sets, "d", 1)
    delete(rest, f"{deployments}/d", "Background")
    count(rest, sets, "d", 0)
    count(rest, pods, "d", 0)


@upstream("[sig-api-machinery] Garbage collector should not be blocked by dependency circle [Conformance]")
def test_a_circle_of_owners_goes_as_a_whole(rest, pods):
    uids = {}
    for name in ("pod1", "pod2", "pod3"):
        meta = {"name": name, "labels": {"gc": "circle"}}
        uids[name] = rest.ok("POST", pods, {"metadata": meta, "spec": template("x")["spec"]})["metadata"]["uid"]
    for name, owner in (("pod1", "pod3"), ("pod2", "pod1"), ("pod3", "pod2")):
        reference = {
            "apiVersion": "v1", "kind": "Pod", "name": owner, "uid": uids[owner], "controller": True,
            "blockOwnerDeletion": True,
        }  # fmt: skip
        rest.merge(f"{pods}/{name}", {"metadata": {"ownerReferences": [reference]}})
    delete(rest, f"{pods}/pod1", "Foreground")
    count(rest, pods, "circle", 0)
