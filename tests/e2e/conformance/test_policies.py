from __future__ import annotations

import pytest
from real_cluster import IMAGE

from conformance.marks import upstream

pytestmark = pytest.mark.root

API = "/apis/admissionregistration.k8s.io/v1"


def deployment(name: str, replicas: int) -> dict:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": IMAGE}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"metadata": {"name": name}, "spec": spec}


@pytest.fixture
def bound(rest, namespace):
    """`bound(kind, spec, **binding)` makes a policy for the test's namespace and binds it."""
    made: list[str] = []

    def create(kind: str, spec: dict, **binding) -> None:
        rules = [
            {
                "apiGroups": ["apps"],
                "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["deployments"],
            }
        ]
        name = f"policy-{namespace}"
        constraints = {
            "resourceRules": rules, "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        }  # fmt: skip
        policies, bindings = f"{API}/{kind}policies", f"{API}/{kind}policybindings"
        rest.ok("POST", policies, {"metadata": {"name": name}, "spec": {"matchConstraints": constraints, **spec}})
        made.append(f"{policies}/{name}")
        rest.ok("POST", bindings, {"metadata": {"name": name}, "spec": {"policyName": name, **binding}})
        made.append(f"{bindings}/{name}")

    yield create
    for path in made:
        rest("DELETE", path)


@pytest.fixture
def deployments(namespace: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/deployments"


@upstream(
    "[sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should validate against a Deployment [Conformance]"
)
def test_a_deployment_is_validated(rest, bound, deployments):
    validations = [
        {
            "expression": "object.spec.replicas > 1",
            "messageExpression": "'wants replicas > 1, got ' + string(object.spec.replicas)",
        },
        {
            "expression": "namespaceObject.metadata.name == object.metadata.namespace",
            "message": "Internal error! Other namespace selected.",
        },
    ]
    bound("validatingadmission", {"validations": validations}, validationActions=["Deny"])
    rest.ok("POST", deployments, deployment("replicated", 2))
    answer = rest("POST", deployments, deployment("single", 1))
    assert answer.code == 422
    assert "wants replicas > 1, got 1" in answer.body["message"]


@upstream(
    "[sig-api-machinery] MutatingAdmissionPolicy [Privileged:ClusterAdmin] should mutate a Deployment [Conformance]"
)
def test_a_deployment_is_mutated(rest, bound, deployments):
    expression = "Object{spec: Object.spec{replicas: object.spec.replicas + 100}}"
    mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}
    bound("mutatingadmission", {"reinvocationPolicy": "Never", "failurePolicy": "Fail", "mutations": [mutation]})
    made = rest.ok("POST", deployments, deployment("more", 1), dryRun="All")
    assert made["spec"]["replicas"] == 101


@upstream(
    "[sig-api-machinery] MutatingAdmissionPolicy [Privileged:ClusterAdmin] should mutate a Deployment with annotations [Conformance]"
)
def test_a_deployment_is_annotated(rest, bound, deployments):
    expression = "Object{metadata: Object.metadata{annotations: {'my-foo-annotation': 'myAnnotationValue'}}}"
    mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}
    bound("mutatingadmission", {"reinvocationPolicy": "Never", "failurePolicy": "Fail", "mutations": [mutation]})
    made = rest.ok("POST", deployments, deployment("noted", 0))
    assert made["metadata"]["annotations"]["my-foo-annotation"] == "myAnnotationValue"
