from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance.marks import upstream
from conformance.workloads import Kind, template, unique

pytestmark = pytest.mark.root

CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
DONGLES = "scheduling.tiphys.test/dongle"


@pytest.fixture
def pods(rest, namespace) -> Kind:
    return Kind(rest, "v1", "pods", namespace)


@pytest.fixture
def node(rest) -> str:
    name: str = rest.ok("GET", "/api/v1/nodes")["items"][0]["metadata"]["name"]
    return name


@pytest.fixture
def classes(rest) -> Iterator[dict[str, str]]:
    """The names of three priority classes, by what they are."""
    names = {kind: unique(kind) for kind in ("low", "medium", "high")}
    for value, name in enumerate(names.values(), 1):
        rest.ok("POST", CLASSES, {"metadata": {"name": name}, "value": value})
    yield names
    for name in names.values():
        rest("DELETE", f"{CLASSES}/{name}")


@pytest.fixture
def dongles(rest, node) -> Iterator[int]:
    """The node has so many of something that nothing else asks for."""
    path = f"/api/v1/nodes/{node}/status"
    rest.merge(path, {"status": {"capacity": {DONGLES: "10"}, "allocatable": {DONGLES: "10"}}})
    yield 10
    rest.merge(path, {"status": {"capacity": {DONGLES: None}, "allocatable": {DONGLES: None}}})


def taking(count: int, **spec) -> dict:
    amounts = {DONGLES: str(count)}
    return template(container={"resources": {"requests": amounts, "limits": amounts}}, **spec)["spec"]


def bound(pods: Kind, name: str) -> dict:
    path = f"{pods.path}/{name}"
    found: dict = pods.rest.until(
        path, lambda answer: answer.code == 200 and "nodeName" in answer.body["spec"], 40
    ).body
    return found


def going(pods: Kind, name: str) -> None:
    pods.rest.until(
        f"{pods.path}/{name}",
        lambda answer: answer.code == 404 or bool(answer.body["metadata"].get("deletionTimestamp")), 40,
    )  # fmt: skip


@upstream(
    "[sig-scheduling] SchedulerPredicates [Serial] validates that there exists conflict between pods with same hostPort and protocol but one using 0.0.0.0 hostIP [Conformance]"
)
def test_a_host_port_on_every_address_conflicts_with_one_on_any(pods, node):
    def holding(address: str) -> dict:
        port = {"containerPort": 8080, "hostPort": 54322, "protocol": "TCP", "hostIP": address}
        return template(container={"ports": [port]}, nodeSelector={"kubernetes.io/hostname": node})["spec"]

    pods.create("first", holding("0.0.0.0"))
    bound(pods, "first")
    pods.create("second", holding("127.0.0.1"))
    path = f"{pods.path}/second"

    def refused(answer) -> bool:
        conditions = answer.body["status"].get("conditions", ())
        return any(c["reason"] == "Unschedulable" and "free ports" in c["message"] for c in conditions)

    found = pods.rest.until(path, refused).body
    assert "nodeName" not in found["spec"]


@upstream("[sig-scheduling] SchedulerPreemption [Serial] validates basic preemption works [Conformance]")
def test_a_pod_of_high_priority_takes_the_place_of_the_lowest(pods, classes, dongles):
    for name, kind in (("low", "low"), ("medium", "medium")):
        pods.create(name, taking(4, priorityClassName=classes[kind]))
        bound(pods, name)
    pods.create("high", taking(4, priorityClassName=classes["high"]))
    bound(pods, "high")
    going(pods, "low")
    assert "deletionTimestamp" not in pods.get("medium")["metadata"]


@upstream(
    "[sig-scheduling] SchedulerPreemption [Serial] validates lower priority pod preemption by critical pod [Conformance]"
)
def test_a_critical_pod_takes_the_place_of_the_lowest(rest, pods, classes, dongles):
    for name, kind in (("low", "low"), ("medium", "medium")):
        pods.create(name, taking(4, priorityClassName=classes[kind]))
        bound(pods, name)
    system = Kind(rest, "v1", "pods", "kube-system")
    name = unique("critical")
    system.create(name, taking(4, priorityClassName="system-cluster-critical"))
    try:
        bound(system, name)
        going(pods, "low")
        assert "deletionTimestamp" not in pods.get("medium")["metadata"]
    finally:
        system.delete(name)
        system.gone(name)


@upstream(
    "[sig-scheduling] SchedulerPreemption [Serial] validates pod disruption condition is added to the preempted pod [Conformance]"
)
def test_the_preempted_pod_says_why_it_goes(pods, classes, dongles):
    finalizer = "example.com/test-finalizer"
    pods.create("victim", taking(dongles, priorityClassName=classes["low"]), finalizers=[finalizer])
    bound(pods, "victim")
    pods.create("preemptor", taking(dongles, priorityClassName=classes["high"]))
    going(pods, "victim")
    found = pods.condition("victim", "DisruptionTarget")
    assert found["reason"] == "PreemptionByScheduler"
    pods.merge("victim", {"metadata": {"finalizers": None}})
    pods.gone("victim")
    bound(pods, "preemptor")


@upstream(
    "[sig-scheduling] SchedulerPreemption [Serial] PriorityClass endpoints verify PriorityClass endpoints can be operated with different HTTP methods [Conformance]"
)
def test_what_of_a_priority_class_may_change(rest):
    name = unique("p")
    made = rest.ok("POST", CLASSES, {"metadata": {"name": name}, "value": 77, "description": "first"})
    try:
        listed = rest.ok("GET", CLASSES)["items"]
        assert name in [each["metadata"]["name"] for each in listed]
        patched = rest.merge(f"{CLASSES}/{name}", {"description": "second"})
        assert patched["description"] == "second"
        patched["description"] = "third"
        assert rest.ok("PUT", f"{CLASSES}/{name}", patched)["description"] == "third"
        media = "application/merge-patch+json"
        assert rest("PATCH", f"{CLASSES}/{name}", {"value": 78}, media=media).code == 422
        patched["value"] = 79
        patched["metadata"].pop("resourceVersion")
        assert rest("PUT", f"{CLASSES}/{name}", patched).code == 422
        assert rest.ok("GET", f"{CLASSES}/{name}")["value"] == made["value"]
    finally:
        rest.ok("DELETE", f"{CLASSES}/{name}")
