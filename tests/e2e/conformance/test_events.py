from __future__ import annotations

import pytest

from conformance.marks import upstream

pytestmark = pytest.mark.root

NOW = "2026-01-02T03:04:05.000006Z"


def core_event(name: str, namespace: str) -> dict:
    about = {"namespace": namespace, "kind": "Pod", "name": "some-pod"}
    meta = {"name": name, "labels": {"testevent-set": "true"}}
    return {
        "metadata": meta, "message": f"This is {name}", "reason": "Test", "type": "Normal", "count": 1,
        "involvedObject": about, "source": {"component": "e2e"},
    }  # fmt: skip


def new_event(name: str, namespace: str) -> dict:
    return {
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": name, "labels": {"testevent-set": "true"}}, "regarding": {"namespace": namespace},
        "eventTime": NOW, "note": "a note", "reason": "Test", "action": "Do", "type": "Normal",
        "reportingController": "test-controller", "reportingInstance": "test-node",
    }  # fmt: skip


@upstream("[sig-instrumentation] Events should manage the lifecycle of an event [Conformance]")
def test_the_life_of_an_event(rest, namespace):
    events = f"/api/v1/namespaces/{namespace}/events"
    rest.ok("POST", events, core_event("e", namespace))
    (found,) = rest.ok("GET", "/api/v1/events", labelSelector="testevent-set=true")["items"]
    assert found["metadata"]["name"] == "e"
    rest.merge(f"{events}/e", {"message": "patched"})
    current = rest.ok("GET", f"{events}/e")
    assert current["message"] == "patched"
    current["series"] = {"count": 100, "lastObservedTime": NOW}
    rest.ok("PUT", f"{events}/e", current)
    again = rest.ok("GET", f"{events}/e")
    assert again["series"] == {"count": 100, "lastObservedTime": NOW}
    # One store, two groups: what one wrote is there in the other's words.
    other = rest.ok("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events/e")
    assert (other["note"], other["series"]["count"]) == ("patched", 100)
    rest.ok("DELETE", f"{events}/e")
    assert rest.ok("GET", "/api/v1/events", labelSelector="testevent-set=true")["items"] == []


@upstream("[sig-instrumentation] Events should delete a collection of events [Conformance]")
def test_a_collection_of_core_events_goes(rest, namespace):
    events = f"/api/v1/namespaces/{namespace}/events"
    for number in range(3):
        rest.ok("POST", events, core_event(f"e{number}", namespace))
    assert len(rest.ok("GET", events, labelSelector="testevent-set=true")["items"]) == 3
    rest.ok("DELETE", events, labelSelector="testevent-set=true")
    assert rest.ok("GET", events, labelSelector="testevent-set=true")["items"] == []


@upstream("[sig-instrumentation] Events API should delete a collection of events [Conformance]")
def test_a_collection_of_new_events_goes(rest, namespace):
    events = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    for number in range(3):
        rest.ok("POST", events, new_event(f"e{number}", namespace))
    found = rest.ok("GET", "/apis/events.k8s.io/v1/events", labelSelector="testevent-set=true")["items"]
    assert [item["note"] for item in found] == ["a note"] * 3
    rest.ok("DELETE", events, labelSelector="testevent-set=true")
    assert rest.ok("GET", events, labelSelector="testevent-set=true")["items"] == []
