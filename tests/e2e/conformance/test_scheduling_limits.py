from __future__ import annotations

import pytest

from conformance.marks import upstream
from conformance.workloads import Kind, template, unique

pytestmark = pytest.mark.root

MIN = {"cpu": "50m", "memory": "100Mi", "ephemeral-storage": "100Gi"}
MAX = {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "500Gi"}
REQUEST = {"cpu": "100m", "memory": "200Mi", "ephemeral-storage": "200Gi"}
# Nothing should run: what counts is what the pods are given.
NOWHERE = {"nodeSelector": {"no": "node"}}


def limits(**more) -> dict:
    return {
        "limits": [{"type": "Container", "min": MIN, "max": MAX, "default": MAX, "defaultRequest": REQUEST, **more}]
    }


@pytest.fixture
def ranges(rest, namespace) -> Kind:
    return Kind(rest, "v1", "limitranges", namespace)


@pytest.fixture
def pods(rest, namespace) -> Kind:
    return Kind(rest, "v1", "pods", namespace)


def spec(requests: dict | None = None, held: dict | None = None) -> dict:
    resources = {key: value for key, value in (("requests", requests), ("limits", held)) if value}
    made: dict = template(container={"resources": resources}, **NOWHERE)["spec"]
    return made


@upstream(
    "[sig-scheduling] LimitRange should create a LimitRange with defaults and ensure pod has those defaults applied. [Conformance]"
)
def test_defaults_and_bounds(rest, ranges, pods):
    with_watch = rest.events(ranges.path, timeoutSeconds=20)
    made = ranges.create("limits", limits())
    kind, seen = next(with_watch)
    assert (kind, seen["metadata"]["uid"]) == ("ADDED", made["metadata"]["uid"])
    with_watch.close()

    def resources(name: str, body: dict) -> dict:
        found: dict = pods.create(name, body)["spec"]["containers"][0]["resources"]
        return found

    assert resources("plain", spec()) == {"requests": REQUEST, "limits": MAX}
    asked, held = {"cpu": "300m", "memory": "150Mi"}, {"cpu": "300m"}
    found = resources("partial", spec(asked, held))
    assert found["requests"] == {**REQUEST, **asked}
    assert found["limits"] == {**MAX, **held}
    for body in (spec({"cpu": "10m"}, {}), spec({"cpu": "600m"}, {"cpu": "600m"})):
        answer = rest("POST", pods.path, {"metadata": {"name": "refused"}, "spec": body})
        assert answer.code == 403, answer
    made["spec"]["limits"][0]["min"]["cpu"] = "10m"
    rest.ok("PUT", f"{ranges.path}/limits", made)
    assert ranges.get("limits")["spec"]["limits"][0]["min"]["cpu"] == "10m"
    resources("smaller", spec({"cpu": "10m"}, {}))
    assert (
        rest("POST", pods.path, {"metadata": {"name": "refused"}, "spec": spec({"cpu": "600m"}, {"cpu": "600m"})}).code
        == 403
    )
    ranges.delete("limits")
    ranges.gone("limits")
    assert resources("free", spec()) == {}


@upstream("[sig-scheduling] LimitRange should list, patch and delete a LimitRange by collection [Conformance]")
def test_in_two_namespaces(rest, ranges, cluster):
    label = unique("limits")
    other = unique("ns")
    cluster.kubectl("create", "namespace", other)
    elsewhere = Kind(rest, "v1", "limitranges", other)
    everywhere = "/api/v1/limitranges"
    try:
        ranges.create(label, limits(), labels={label: "created"})
        elsewhere.create(label, limits(), labels={label: "created"})
        assert len(rest.ok("GET", everywhere, labelSelector=f"{label}=created")["items"]) == 2
        low = {"metadata": {"labels": {label: "patched"}}, "spec": limits(min={**MIN, "cpu": "40m"})}
        patched = ranges.strategic(label, low)
        assert patched["metadata"]["labels"][label] == "patched"
        assert patched["spec"]["limits"][0]["min"]["cpu"] == "40m"
        rest.ok("DELETE", ranges.path, labelSelector=f"{label}=patched")
        ranges.gone(label)
        left = rest.ok("GET", everywhere, labelSelector=label)["items"]
        assert [each["metadata"]["namespace"] for each in left] == [other]
    finally:
        cluster.kubectl("delete", "namespace", other, "--wait=false")
