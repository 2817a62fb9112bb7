from __future__ import annotations

import pytest

from conformance.marks import upstream
from conformance.workloads import unique

pytestmark = pytest.mark.root

API = "/apis/resource.k8s.io/v1"
CLAIM = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "example"}}]}}


def check_verbs(rest, path: str, spec: dict) -> None:
    """Create, read, list, watch, replace, patch, apply and delete, one and many."""
    name, label = unique("dra"), unique("label")
    selector = f"test={label}"
    made = rest.ok("POST", path, {"metadata": {"name": name, "labels": {"test": label}}, "spec": spec})
    one = f"{path}/{name}"
    assert rest.ok("GET", one)["spec"] == made["spec"]
    listed = rest.ok("GET", path, labelSelector=selector)
    assert [each["metadata"]["uid"] for each in listed["items"]] == [made["metadata"]["uid"]]
    version = listed["metadata"]["resourceVersion"]
    made["metadata"]["annotations"] = {"step": "updated"}
    assert rest.ok("PUT", one, made)["metadata"]["annotations"]["step"] == "updated"
    patched = rest.merge(one, {"metadata": {"annotations": {"step": "patched"}}})
    assert patched["metadata"]["annotations"]["step"] == "patched"
    events = rest.events(path, labelSelector=selector, resourceVersion=version, timeoutSeconds=20)
    steps = [obj["metadata"]["annotations"]["step"] for _, obj in (next(events), next(events))]
    assert steps == ["updated", "patched"]
    rest.ok("DELETE", one)
    kind, gone = next(events)
    events.close()
    assert (kind, gone["metadata"]["name"]) == ("DELETED", name)
    assert rest("GET", one).code == 404
    for number in range(2):
        rest.ok("POST", path, {"metadata": {"name": f"{name}-{number}", "labels": {"test": label}}, "spec": spec})
    rest.ok("DELETE", path, labelSelector=selector)
    rest.until(path, lambda answer: not answer.body["items"], labelSelector=selector)


@upstream("[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 DeviceClass [Conformance]")
def test_device_classes(rest):
    check_verbs(
        rest, f"{API}/deviceclasses", {"selectors": [{"cel": {"expression": "device.driver == 'example.com'"}}]}
    )


@upstream("[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 ResourceClaim [Conformance]")
def test_claims(rest, namespace):
    path = f"{API}/namespaces/{namespace}/resourceclaims"
    check_verbs(rest, path, CLAIM)
    rest.ok("POST", path, {"metadata": {"name": "c"}, "spec": CLAIM})
    status = rest.ok("GET", f"{path}/c/status")
    result = {"request": "r", "driver": "example.com", "pool": "p", "device": "d"}
    status["status"] = {"allocation": {"devices": {"results": [result]}}}
    made = rest.ok("PUT", f"{path}/c/status", status)
    assert made["status"]["allocation"]["devices"]["results"][0]["device"] == "d"
    patched = rest.merge(f"{path}/c/status", {"status": {"allocation": None}})
    assert "allocation" not in patched.get("status", {})
    rest.ok("DELETE", f"{path}/c")


@upstream("[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 ResourceClaimTemplate [Conformance]")
def test_claim_templates(rest, namespace):
    check_verbs(rest, f"{API}/namespaces/{namespace}/resourceclaimtemplates", {"spec": CLAIM})


@upstream("[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 ResourceSlice [Conformance]")
def test_slices(rest):
    pool = {"name": "p", "generation": 1, "resourceSliceCount": 1}
    devices = [{"name": "d", "attributes": {"model": {"string": "x"}}}]
    check_verbs(
        rest, f"{API}/resourceslices", {"driver": "example.com", "nodeName": "none", "pool": pool, "devices": devices}
    )
