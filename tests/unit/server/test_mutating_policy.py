"""MutatingAdmissionPolicy: what its expressions make of an object."""

from __future__ import annotations

from typing import Any

from tests.unit.server.test_validating_policy import MAPS, REGISTRATION, RULE, config_map

POLICIES, BINDINGS = f"{REGISTRATION}/mutatingadmissionpolicies", f"{REGISTRATION}/mutatingadmissionpolicybindings"


def policy(name: str, *mutations: dict[str, Any], **spec: Any) -> dict[str, Any]:
    match = {"matchConstraints": {"resourceRules": [RULE]}, "reinvocationPolicy": "Never"}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name}, "spec": {**match, "mutations": list(mutations), **spec},
    }  # fmt: skip


def applied(expression: str) -> dict[str, Any]:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def patched(expression: str) -> dict[str, Any]:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


async def enforce(api: Any, made: dict[str, Any]) -> None:
    await api.ok("POST", POLICIES, made)
    name = made["metadata"]["name"]
    await api.ok("POST", BINDINGS, {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name}, "spec": {"policyName": name},
    })  # fmt: skip


async def test_a_configuration_is_laid_over_the_object(api):
    expression = "Object{metadata: Object.metadata{labels: {'team': request.userInfo.username}}}"
    await enforce(api, policy("p", applied(expression)))
    made = await api.ok("POST", MAPS, config_map(a="b"))
    assert (made["metadata"]["labels"], made["data"]) == ({"team": "admin"}, {"a": "b"})


async def test_a_patch_is_applied_unless_its_test_fails(api):
    test = "JSONPatch{op: 'test', path: '/data/a', value: 'b'}"
    add = "JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey('y'), value: 'z'}"
    await enforce(api, policy("p", patched(f"[{test}, {add}]")))
    assert (await api.ok("POST", MAPS, config_map(a="b")))["data"] == {"a": "b", "y": "z"}
    assert (await api.ok("POST", MAPS, config_map("d", a="c")))["data"] == {"a": "c"}


async def test_what_one_policy_does_another_sees_again(api):
    count = "Object{data: {'seen': string(has(object.metadata.labels))}}"
    await enforce(api, policy("a", applied(count), reinvocationPolicy="IfNeeded"))
    await enforce(api, policy("b", applied("Object{metadata: Object.metadata{labels: {'l': 'm'}}}")))
    assert (await api.ok("POST", MAPS, config_map()))["data"] == {"seen": "true"}


async def test_a_mutation_without_a_value_refuses_the_request(api):
    await enforce(api, policy("p", applied("Object{data: {'x': object.data.nope}}")))
    code, status = await api("POST", MAPS, config_map(a="b"))
    assert code == 403
    assert status["message"].startswith("policy 'p' with binding 'p' denied request: expression")
    assert "no such key: nope" in status["message"]


async def test_names_of_objects_must_say_where_they_stand(api):
    await enforce(api, policy("p", applied("Object{data: Object.metadata{}}")))
    code, status = await api("POST", MAPS, config_map())
    assert code == 403
    assert 'unexpected type name "Object.metadata", expected "Object.data"' in status["message"]


async def test_a_policy_that_does_not_compile_is_refused(api):
    code, status = await api("POST", POLICIES, policy("p", applied("1")))
    assert code == 422
    assert "spec.mutations[0].applyConfiguration.expression: Invalid value" in status["message"]
    assert "must evaluate to Object but got int" in status["message"]


async def test_what_is_only_replaced_as_a_whole_cannot_be_applied(api):
    rule = {**RULE, "apiGroups": ["apps"], "resources": ["deployments"]}
    spec = 'Object.spec.template.spec{containers: [Object.spec.template.spec.containers{name: "c", command: ["x"]}]}'
    expression = f"Object{{spec: Object.spec{{template: Object.spec.template{{spec: {spec}}}}}}}"
    await enforce(api, policy("p", applied(expression), matchConstraints={"resourceRules": [rule]}))
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    }  # fmt: skip
    _, status = await api("POST", "/apis/apps/v1/namespaces/default/deployments", deployment)
    why = "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs"
    assert f"{why}: .spec.template.spec.containers[0].command" in status["message"]


async def test_parameters_are_one_invocation_each(api):
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    add = "[JSONPatch{op: 'add', path: '/data/' + params.data.key, value: 'x'}]"
    await api.ok("POST", POLICIES, policy("p", patched(add), paramKind=kind))
    for name in ("one", "two"):
        body = config_map(name, key=name) | {"metadata": {"name": name, "labels": {"param": "yes"}}}
        await api.ok("POST", "/api/v1/namespaces/kube-system/configmaps", body)
    selector = {"matchLabels": {"param": "yes"}}
    reference = {"selector": selector, "namespace": "kube-system", "parameterNotFoundAction": "Deny"}
    await api.ok("POST", BINDINGS, {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": "b"}, "spec": {"policyName": "p", "paramRef": reference},
    })  # fmt: skip
    assert (await api.ok("POST", MAPS, config_map(a="b")))["data"] == {"a": "b", "one": "x", "two": "x"}
