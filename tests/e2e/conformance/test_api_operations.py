from __future__ import annotations

import secrets

import pytest

from conformance.marks import upstream

pytestmark = pytest.mark.root

FLOW = "flowcontrol.apiserver.k8s.io"
ADMISSION = "admissionregistration.k8s.io"


def lives(rest, group: str, plural: str, body: dict, *, status: bool) -> None:
    """Discovery, then create, get, list, watch, patch, update, status, delete, deletecollection of one kind."""
    names = {g["name"]: g for g in rest.ok("GET", "/apis")["groups"]}
    assert {"groupVersion": f"{group}/v1", "version": "v1"} in names[group]["versions"]
    assert {"groupVersion": f"{group}/v1", "version": "v1"} in rest.ok("GET", f"/apis/{group}")["versions"]
    resources = {r["name"] for r in rest.ok("GET", f"/apis/{group}/v1")["resources"]}
    assert plural in resources
    assert (f"{plural}/status" in resources) == status
    path, mark = f"/apis/{group}/v1/{plural}", secrets.token_hex(3)
    selector = {"labelSelector": f"e2e={mark}"}

    def make(number: int) -> dict:
        return rest.ok("POST", path, {"metadata": {"name": f"e2e-{mark}-{number}", "labels": {"e2e": mark}}, **body})

    first = make(0)
    name = first["metadata"]["name"]
    assert rest.ok("GET", f"{path}/{name}")["metadata"]["uid"] == first["metadata"]["uid"]
    make(1), make(2)
    listed = rest.ok("GET", path, **selector)
    assert len(listed["items"]) == 3
    events = rest.events(path, resourceVersion=listed["metadata"]["resourceVersion"], timeoutSeconds=20, **selector)
    patched = rest.merge(f"{path}/{name}", {"metadata": {"annotations": {"patched": "true"}}})
    assert patched["metadata"]["annotations"]["patched"] == "true"
    patched["metadata"]["annotations"]["updated"] = "true"
    updated = rest.ok("PUT", f"{path}/{name}", patched)
    assert updated["metadata"]["annotations"]["updated"] == "true"
    assert [next(events)[0] for _ in range(2)] == ["MODIFIED", "MODIFIED"]
    if status:
        assert rest.ok("GET", f"{path}/{name}/status")["metadata"]["name"] == name
        rest.merge(f"{path}/{name}/status", {"metadata": {"annotations": {"patchedstatus": "true"}}})
        current = rest.ok("GET", f"{path}/{name}/status")
        rest.ok("PUT", f"{path}/{name}/status", current)
    rest.ok("DELETE", f"{path}/{name}")
    rest.until(f"{path}/{name}", lambda answer: answer.code == 404)
    assert len(rest.ok("GET", path, **selector)["items"]) == 2
    rest.ok("DELETE", path, **selector)
    rest.until(path, lambda answer: not answer.body["items"], **selector)


@upstream("[sig-api-machinery] API priority and fairness should support FlowSchema API operations [Conformance]")
def test_flow_schemas(rest):
    rule = {
        "subjects": [{"kind": "User", "user": {"name": "example-e2e-flow-schema"}}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }
    spec = {
        "matchingPrecedence": 10000, "priorityLevelConfiguration": {"name": "global-default"},
        "distinguisherMethod": {"type": "ByUser"}, "rules": [rule],
    }  # fmt: skip
    lives(rest, FLOW, "flowschemas", {"spec": spec}, status=True)


@upstream(
    "[sig-api-machinery] API priority and fairness should support PriorityLevelConfiguration API operations [Conformance]"
)
def test_priority_levels(rest):
    limited = {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}}
    spec = {"type": "Limited", "limited": limited}
    lives(rest, FLOW, "prioritylevelconfigurations", {"spec": spec}, status=True)


CONSTRAINTS = {
    "resourceRules": [
        {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]}
    ]
}


@upstream(
    "[sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should support ValidatingAdmissionPolicy API operations [Conformance]"
)
def test_validating_admission_policies(rest):
    spec = {"matchConstraints": CONSTRAINTS, "validations": [{"expression": "object.spec.replicas <= 100"}]}
    lives(rest, ADMISSION, "validatingadmissionpolicies", {"spec": spec}, status=True)


@upstream(
    "[sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should support ValidatingAdmissionPolicyBinding API operations [Conformance]"
)
def test_validating_admission_policy_bindings(rest):
    spec = {"policyName": "replicalimit-policy.example.com", "validationActions": ["Deny"]}
    lives(rest, ADMISSION, "validatingadmissionpolicybindings", {"spec": spec}, status=False)


@upstream(
    "[sig-api-machinery] MutatingAdmissionPolicy [Privileged:ClusterAdmin] should support MutatingAdmissionPolicy API operations [Conformance]"
)
def test_mutating_admission_policies(rest):
    mutation = {
        "patchType": "ApplyConfiguration",
        "applyConfiguration": {"expression": "Object{spec: Object.spec{replicas: 2}}"},
    }
    spec = {"matchConstraints": CONSTRAINTS, "reinvocationPolicy": "Never", "mutations": [mutation]}
    lives(rest, ADMISSION, "mutatingadmissionpolicies", {"spec": spec}, status=False)
