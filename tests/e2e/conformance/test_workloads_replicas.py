from __future__ import annotations

import pytest

from conformance.marks import upstream
from conformance.workloads import Kind, check_collection, check_status_verbs, conditions, template, unique

pytestmark = pytest.mark.root

LABELS = {"name": "replicated"}


@pytest.fixture
def sets(rest, namespace) -> Kind:
    return Kind(rest, "apps/v1", "replicasets", namespace)


@pytest.fixture
def controllers(rest, namespace) -> Kind:
    return Kind(rest, "v1", "replicationcontrollers", namespace)


@pytest.fixture
def pods(rest, namespace) -> Kind:
    return Kind(rest, "v1", "pods", namespace)


def spec(replicas: int) -> dict:
    return {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template(LABELS)}


def old_spec(replicas: int) -> dict:
    return {"replicas": replicas, "selector": LABELS, "template": template(LABELS)}


def check_scale(kind: Kind, name: str) -> None:
    path = f"{kind.path}/{name}/scale"
    scale = kind.rest.ok("GET", path)
    assert scale["spec"]["replicas"] == 1
    scale["spec"]["replicas"] = 2
    scale["metadata"].pop("resourceVersion")
    assert kind.rest.ok("PUT", path, scale)["spec"]["replicas"] == 2
    assert kind.get(name)["spec"]["replicas"] == 2
    assert kind.rest.merge(path, {"spec": {"replicas": 3}})["spec"]["replicas"] == 3
    kind.until(name, readyReplicas=3)


def check_serving(kind: Kind, pods: Kind, name: str) -> None:
    kind.until(name, readyReplicas=2)
    for pod in pods.list():
        answer = kind.rest("GET", f"{pods.path}/{pod['metadata']['name']}/proxy/")
        assert answer.body.split() == ["1", pod["metadata"]["name"]]


@upstream("[sig-apps] ReplicaSet should serve a basic image on each replica with a public image [Conformance]")
def test_every_replica_answers(sets, pods):
    sets.create("r", spec(2))
    check_serving(sets, pods, "r")


@upstream("[sig-apps] ReplicationController should serve a basic image on each replica with a public image [Conformance]")
def test_every_replica_of_a_controller_answers(controllers, pods):
    controllers.create("r", old_spec(2))
    check_serving(controllers, pods, "r")


@upstream("[sig-apps] ReplicaSet should adopt matching pods on creation and release no longer matching pods [Conformance]")
def test_pods_are_adopted_and_released(rest, sets, pods):
    pods.create("orphan", template()["spec"], labels=LABELS)
    sets.create("r", spec(1))
    path = f"{pods.path}/orphan"
    rest.until(path, lambda answer: answer.body["metadata"].get("ownerReferences", [{}])[0].get("name") == "r")
    pods.merge("orphan", {"metadata": {"labels": {"name": "released"}}})
    rest.until(path, lambda answer: not answer.body["metadata"].get("ownerReferences"))
    sets.until("r", replicas=1)


@upstream("[sig-apps] ReplicaSet Replicaset should have a working scale subresource [Conformance]")
def test_the_scale(sets):
    sets.create("r", spec(1))
    sets.until("r", readyReplicas=1)
    check_scale(sets, "r")


@upstream("[sig-apps] ReplicationController should get and update a ReplicationController scale [Conformance]")
def test_the_scale_of_a_controller(controllers):
    controllers.create("r", old_spec(1))
    controllers.until("r", readyReplicas=1)
    check_scale(controllers, "r")


@upstream("[sig-apps] ReplicaSet Replace and Patch tests [Conformance]")
def test_a_set_is_replaced_and_patched(rest, sets):
    sets.create("r", spec(1))
    sets.until("r", readyReplicas=1)
    sets.merge("r", {"spec": {"replicas": 2}}, "/scale")
    sets.until("r", readyReplicas=2)
    patch = {"metadata": {"labels": {"patched": "yes"}}, "spec": {"replicas": 3}}
    assert sets.strategic("r", patch)["metadata"]["labels"]["patched"] == "yes"
    sets.until("r", readyReplicas=3)


@upstream("[sig-apps] ReplicaSet should list and delete a collection of ReplicaSets [Conformance]")
def test_a_collection_is_listed_and_deleted(sets):
    check_collection(sets, unique("r"), spec(1))


@upstream("[sig-apps] ReplicaSet should validate Replicaset Status endpoints [Conformance]")
def test_the_status_is_read_replaced_and_patched(sets):
    sets.create("r", spec(1))
    sets.until("r", readyReplicas=1)
    check_status_verbs(sets, "r")


@upstream("[sig-apps] ReplicationController should surface a failure condition on a common issue like exceeded quota [Conformance]")
def test_a_quota_that_is_exceeded_shows(rest, namespace, controllers):
    quotas = Kind(rest, "v1", "resourcequotas", namespace)
    quotas.create("two", {"hard": {"pods": "2"}})
    rest.until(f"{quotas.path}/two", lambda answer: answer.body.get("status", {}).get("hard"))
    controllers.create("r", old_spec(3))
    assert controllers.condition("r", "ReplicaFailure")["reason"] == "FailedCreate"
    controllers.merge("r", {"spec": {"replicas": 2}}, "/scale")
    rest.until(f"{controllers.path}/r", lambda answer: not conditions(answer.body))


@upstream("[sig-apps] ReplicationController should test the lifecycle of a ReplicationController [Conformance]")
def test_the_life_of_a_controller(rest, controllers):
    label = unique("static")
    seen = rest.ok("GET", controllers.path)["metadata"]["resourceVersion"]
    controllers.create("r", old_spec(1), labels={"test": label})
    watch = rest.events(controllers.path, resourceVersion=seen, labelSelector=f"test={label}", timeoutSeconds=20)
    assert next(watch)[0] == "ADDED"
    controllers.until("r", readyReplicas=1)
    assert controllers.strategic("r", {"metadata": {"labels": {"patched": "yes"}}})["metadata"]["labels"]["patched"] == "yes"
    patched = rest.merge(f"{controllers.path}/r/status", {"status": {"readyReplicas": 0, "availableReplicas": 0}})
    assert patched["status"].get("readyReplicas", 0) == 0
    controllers.until("r", readyReplicas=1)
    controllers.merge("r", {"spec": {"replicas": 2}}, "/scale")
    controllers.until("r", readyReplicas=2)
    everywhere = rest.ok("GET", "/api/v1/replicationcontrollers", labelSelector=f"test={label}")["items"]
    assert [found["metadata"]["name"] for found in everywhere] == ["r"]
    read = controllers.get("r")
    read["spec"]["replicas"] = 1
    while (answer := rest("PUT", f"{controllers.path}/r", read)).code == 409:
        read = controllers.get("r")
        read["spec"]["replicas"] = 1
    assert answer.code == 200
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
    rest.ok("DELETE", controllers.path, body, labelSelector=f"test={label}")
    controllers.gone("r")
