"""Wrong manifests through the API server, one per group: the Status that comes back, and the warnings beside it."""

from typing import Any

import pytest

from tests.unit.server.conftest import Api

Json = dict[str, Any]
RBAC = "rbac.authorization.k8s.io"
TEMPLATE: Json = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
SELECTOR = {"matchLabels": {"a": "b"}}
ADDRESS = {"addressType": "IPv4", "endpoints": [{"addresses": []}]}

# Group, version, plural, kind, whether it is in a namespace, the rest of the object, then reason, message and field.
CASES: list[tuple[str, str, str, str, bool, Json, str, str, str]] = [
    ("", "v1", "pods", "Pod", True, {"spec": {"containers": [{"name": "c"}]}}, "FieldValueRequired",
     "Required value", "spec.containers[0].image"),
    ("apps", "v1", "deployments", "Deployment", True,
     {"spec": {"selector": {"matchLabels": {"a": "c"}}, "template": TEMPLATE}}, "FieldValueInvalid",
     'Invalid value: {"a":"b"}: `selector` does not match template `labels`', "spec.template.metadata.labels"),
    ("batch", "v1", "jobs", "Job", True, {"spec": {"parallelism": -1, "template": {"spec": {
        **TEMPLATE["spec"], "restartPolicy": "Never"}}}}, "FieldValueInvalid",
     "Invalid value: -1: must be greater than or equal to 0", "spec.parallelism"),
    ("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True,
     {"spec": {"maxReplicas": 1, "scaleTargetRef": {"kind": "Deployment"}}}, "FieldValueRequired",
     "Required value", "spec.scaleTargetRef.name"),
    ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", True, {"spec": {"minAvailable": -1}},
     "FieldValueInvalid", "Invalid value: -1: must be greater than or equal to 0", "spec.minAvailable"),
    ("networking.k8s.io", "v1", "ingresses", "Ingress", True, {"spec": {}}, "FieldValueInvalid",
     "Invalid value: null: either `defaultBackend` or `rules` must be specified", "spec"),
    (RBAC, "v1", "roles", "Role", True, {"rules": [{"apiGroups": [""], "resources": ["pods"]}]}, "FieldValueRequired",
     "Required value: verbs must contain at least one value", "rules[0].verbs"),
    ("storage.k8s.io", "v1", "storageclasses", "StorageClass", False, {"provisioner": ""}, "FieldValueRequired",
     "Required value", "provisioner"),
    ("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", False, {"value": 2_000_000_000},
     "FieldValueForbidden", "Forbidden: maximum allowed value of a user defined priority is 1000000000", "value"),
    ("coordination.k8s.io", "v1", "leases", "Lease", True, {"spec": {"leaseDurationSeconds": 0}}, "FieldValueInvalid",
     "Invalid value: 0: must be greater than 0", "spec.leaseDurationSeconds"),
    ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", True, ADDRESS, "FieldValueRequired",
     "Required value: must contain at least 1 address", "endpoints[0].addresses"),
    ("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", False,
     {"handler": "h", "overhead": {"podFixed": {"cpu": "-1"}}}, "FieldValueInvalid",
     'Invalid value: "-1": must be greater than or equal to 0', "overhead.limits[cpu]"),
    ("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest", False,
     {"spec": {"request": "", "signerName": "x.io/y", "usages": ["signing"]}}, "FieldValueInvalid",
     'Invalid value: "": PEM block type must be CERTIFICATE REQUEST', "spec.request"),
    ("flowcontrol.apiserver.k8s.io", "v1", "flowschemas", "FlowSchema", False,
     {"spec": {"priorityLevelConfiguration": {"name": "a"}, "matchingPrecedence": 10001}}, "FieldValueInvalid",
     "Invalid value: 10001: must not be greater than 10000", "spec.matchingPrecedence"),
    ("resource.k8s.io", "v1", "deviceclasses", "DeviceClass", False, {"spec": {"selectors": [{}]}},
     "FieldValueRequired", "Required value", "spec.selectors[0].cel"),
    ("apiregistration.k8s.io", "v1", "apiservices", "APIService", False,
     {"metadata": {"name": "v1.x.io"},
      "spec": {"group": "x.io", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 0}},
     "FieldValueInvalid", "Invalid value: 0: must be positive and less than 1000", "spec.versionPriority"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("group", "version", "plural", "kind", "namespaced", "obj", "reason", "text", "field"),
    CASES,
    ids=[f"{case[3]}.{case[0]}" for case in CASES],
)
async def test_a_wrong_object(
    api: Api,
    group: str,
    version: str,
    plural: str,
    kind: str,
    namespaced: bool,
    obj: Json,
    reason: str,
    text: str,
    field: str,
) -> None:
    prefix = f"/apis/{group}/{version}" if group else f"/api/{version}"
    where = "/namespaces/default" if namespaced else ""
    body = {"apiVersion": prefix.split("/", 2)[2], "kind": kind, "metadata": {"name": "a"}, **obj}
    await api.ok("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    code, status = await api("POST", f"{prefix}{where}/{plural}", body)
    name = body["metadata"]["name"]
    assert code == 422, status
    assert status["kind"] == "Status"
    assert status["reason"] == "Invalid"
    qualified = f"{kind}.{group}" if group else kind
    assert status["message"] == f'{qualified} "{name}" is invalid: {field}: {text}'
    assert status["details"] == {
        "name": name, "kind": kind, "causes": [{"reason": reason, "message": text, "field": field}],
        **({"group": group} if group else {}),
    }  # fmt: skip


async def test_many_wrong_fields_are_listed_at_once(api: Api) -> None:
    body = {"metadata": {"name": "a"}, "spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}}
    _, status = await api("POST", "/apis/coordination.k8s.io/v1/namespaces/default/leases", body)
    assert [cause["field"] for cause in status["details"]["causes"]] == [
        "spec.leaseDurationSeconds",
        "spec.leaseTransitions",
    ]
    assert status["message"] == (
        'Lease.coordination.k8s.io "a" is invalid: [spec.leaseDurationSeconds: Invalid value: 0: must be greater '
        "than 0, spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0]"
    )


async def test_what_is_deprecated_is_warned_of(api: Api) -> None:
    selector = {"beta.kubernetes.io/os": "linux"}
    body = {"metadata": {"name": "a"}, "handler": "h", "scheduling": {"nodeSelector": selector}}
    response = await api.respond("POST", "/apis/node.k8s.io/v1/runtimeclasses", body)
    assert response.status == 201
    said = str(response.headers)
    assert "scheduling.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14" in said


async def test_a_deleted_job_leaves_its_pods_unless_told_otherwise(api: Api) -> None:
    spec = {"template": {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}}
    jobs = "/apis/batch/v1/namespaces/default/jobs"
    await api.ok("POST", jobs, {"metadata": {"name": "a"}, "spec": spec})
    response = await api.respond("DELETE", f"{jobs}/a")
    assert "child pods are preserved by default when jobs are deleted" in str(response.headers)
    left = await api.ok("GET", f"{jobs}/a")
    assert left["metadata"]["finalizers"] == ["orphan"]
    await api.ok("POST", jobs, {"metadata": {"name": "b"}, "spec": spec})
    await api.ok("DELETE", f"{jobs}/b", {"propagationPolicy": "Background"})
    assert (await api("GET", f"{jobs}/b"))[0] == 404


async def test_what_has_a_subresource_of_its_own_changes_through_no_other(api: Api) -> None:
    await api.ok("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    pods = "/api/v1/namespaces/default/pods"
    requests = {"resources": {"requests": {"cpu": "1"}}}
    pod = await api.ok("POST", pods, {"metadata": {"name": "a"}, "spec": TEMPLATE["spec"]})
    container = pod["spec"]["containers"][0]
    debugger = {"name": "d", "image": "i", "terminationMessagePolicy": "File"}
    for change in (
        {"nodeName": "n"},
        {"containers": [{**container, **requests}]},
        {"ephemeralContainers": [debugger]},
    ):
        code, status = await api("PUT", f"{pods}/a", {**pod, "spec": {**pod["spec"], **change}})
        assert code == 422, change
        (cause,) = status["details"]["causes"]
        assert cause["field"] == "spec"
        assert cause["message"].startswith("Forbidden: pod updates may not change fields other than ")
    changed = {**pod, "spec": {**pod["spec"], "containers": [{**container, "image": "j"}]}}
    pod = await api.ok("PUT", f"{pods}/a", changed)
    added = {**pod, "spec": {**pod["spec"], "ephemeralContainers": [debugger]}}
    pod = await api.ok("PUT", f"{pods}/a/ephemeralcontainers", added)
    (kept,) = pod["spec"]["ephemeralContainers"]
    assert kept["imagePullPolicy"] == "Always"
    pod["spec"]["ephemeralContainers"] = []
    _, status = await api("PUT", f"{pods}/a/ephemeralcontainers", pod)
    assert status["details"]["causes"][0] == {
        "reason": "FieldValueForbidden", "field": "spec.ephemeralContainers",
        "message": 'Forbidden: existing ephemeral containers "d" may not be removed\n',
    }  # fmt: skip


async def test_the_newer_version_of_events_asks_for_more(api: Api) -> None:
    regarding = {"kind": "Pod", "name": "a", "namespace": "default"}
    event = {"metadata": {"name": "a"}, "regarding": regarding, "type": "x", "deprecatedCount": 1, "series": {}}
    events = "/apis/events.k8s.io/v1/namespaces/default/events"
    code, status = await api("POST", events, event)
    assert code == 422
    assert [f"{cause['field']}: {cause['message']}" for cause in status["details"]["causes"]] == [
        'series.count: Invalid value: "": should be at least 2',
        "series.lastObservedTime: Required value",
        "eventTime: Required value",
        'type: Invalid value: "": has invalid value: x',
        'count: Invalid value: "": needs to be unset',
    ]
    old = {"metadata": {"name": "a"}, "involvedObject": regarding, "type": "x", "count": 1}
    await api.ok("POST", "/api/v1/namespaces/default/events", old)
    stored = await api.ok("GET", f"{events}/a")
    code, status = await api("PUT", f"{events}/a", {**stored, "note": "other"})
    assert code == 422
    assert status["details"]["causes"][0] == {
        "reason": "FieldValueInvalid", "message": 'Invalid value: "other": field is immutable', "field": "message",
    }  # fmt: skip


OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1", "controller": True}
METADATA: list[tuple[Json, list[str]]] = [
    ({"finalizers": ["a"]}, [
        'metadata.finalizers[0]: Invalid value: "a": '
        "name is neither a standard finalizer name nor is it fully qualified"]),
    ({"finalizers": ["orphan", "foregroundDeletion"]}, [
        'metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: '
        "finalizer orphan and foregroundDeletion cannot be both set"]),
    ({"ownerReferences": [{"apiVersion": "", "kind": "", "name": "", "uid": ""}]}, [
        'metadata.ownerReferences[0].apiVersion: Invalid value: "": version must not be empty',
        'metadata.ownerReferences[0].kind: Invalid value: "": must not be empty',
        'metadata.ownerReferences[0].name: Invalid value: "": must not be empty',
        'metadata.ownerReferences[0].uid: Invalid value: "": must not be empty']),
    ({"ownerReferences": [{**OWNER, "kind": "Event", "controller": False}]}, [
        'metadata.ownerReferences[0]: Invalid value: {"apiVersion":"v1","kind":"Event","name":"a","uid":"1",'
        '"controller":false}: /v1, Kind=Event is disallowed from being an owner']),
]  # fmt: skip


@pytest.mark.parametrize(("meta", "expected"), METADATA)
async def test_wrong_metadata(api: Api, meta: Json, expected: list[str]) -> None:
    body = {"metadata": {"name": "a", **meta}}
    code, status = await api("POST", "/api/v1/namespaces/default/configmaps", body)
    assert code == 422
    assert [f"{cause['field']}: {cause['message']}" for cause in status["details"]["causes"]] == expected


async def test_only_one_owner_is_the_controller(api: Api) -> None:
    body = {"metadata": {"name": "a", "ownerReferences": [OWNER, {**OWNER, "name": "b", "uid": "2"}]}}
    _, status = await api("POST", "/api/v1/namespaces/default/configmaps", body)
    rule = 'Only one reference can have Controller set to true. Found "true" in references for Pod/a and Pod/b'
    assert status["message"].endswith(f": {rule}")


async def test_what_is_being_deleted_takes_no_new_finalizers(api: Api) -> None:
    maps = "/api/v1/namespaces/default/configmaps"
    await api.ok("POST", maps, {"metadata": {"name": "a", "finalizers": ["x.io/y"]}})
    held = await api.ok("DELETE", f"{maps}/a")
    held = await api.ok("GET", f"{maps}/a") if held["kind"] == "Status" else held
    held["metadata"]["finalizers"].append("x.io/z")
    code, status = await api("PUT", f"{maps}/a", held)
    assert code == 422
    assert status["details"]["causes"] == [{
        "reason": "FieldValueForbidden", "field": "metadata.finalizers",
        "message": "Forbidden: no new finalizers can be added if the object is being deleted, "
                   'found new finalizers []string{"x.io/z"}',
    }]  # fmt: skip
