"""ValidatingAdmissionPolicy: what its expressions refuse, warn of and note."""

from __future__ import annotations

from typing import Any

REGISTRATION = "/apis/admissionregistration.k8s.io/v1"
POLICIES, BINDINGS = f"{REGISTRATION}/validatingadmissionpolicies", f"{REGISTRATION}/validatingadmissionpolicybindings"
MAPS = "/api/v1/namespaces/default/configmaps"
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}


def policy(*validations: dict[str, Any], **spec: Any) -> dict[str, Any]:
    match = {"matchConstraints": {"resourceRules": [RULE]}}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"}, "spec": {**match, "validations": list(validations), **spec},
    }  # fmt: skip


def binding(*actions: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": list(actions), **spec},
    }  # fmt: skip


def config_map(name: str = "c", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def enforce(api: Any, made: dict[str, Any], *actions: str, **spec: Any) -> None:
    await api.ok("POST", POLICIES, made)
    await api.ok("POST", BINDINGS, binding(*(actions or ("Deny",)), **spec))


async def test_what_a_policy_forbids_is_refused_in_its_words(api):
    await enforce(api, policy({"expression": "has(object.data.owner)", "message": "name an owner"}))
    code, status = await api("POST", MAPS, config_map(a="b"))
    assert code == 422
    said = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: name an owner"
    assert status["message"] == f'configmaps "c" is forbidden: {said}'
    assert (status["reason"], status["details"]["causes"]) == ("Invalid", [{"message": said}])
    await api.ok("POST", MAPS, config_map(owner="me"))


async def test_a_policy_without_a_binding_does_nothing(api):
    await api.ok("POST", POLICIES, policy({"expression": "false"}))
    await api.ok("POST", MAPS, config_map())


async def test_the_message_may_be_computed_and_the_reason_chosen(api):
    validation = {
        "expression": "object.data.size != 'huge'", "reason": "Forbidden",
        "messageExpression": "'not ' + object.data.size",
    }  # fmt: skip
    await enforce(api, policy(validation))
    code, status = await api("POST", MAPS, config_map(size="huge"))
    assert (code, status["reason"]) == (403, "Forbidden")
    assert status["message"].endswith("denied request: not huge")


async def test_a_failure_may_only_be_warned_of(api):
    await enforce(api, policy({"expression": "false", "message": "no"}), "Warn")
    response = await api.respond("POST", MAPS, config_map())
    assert response.status == 201
    warnings = [value for name, value in response.headers.items() if name.lower() == "warning"]
    assert "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': no" in " ".join(warnings)


async def test_an_expression_without_a_value_fails_as_the_policy_says(api):
    await enforce(api, policy({"expression": "object.data.nope == 'x'"}))
    code, status = await api("POST", MAPS, config_map(a="b"))
    assert code == 422
    assert "expression 'object.data.nope == 'x'' resulted in error: no such key: nope" in status["message"]
    made = await api.ok("GET", f"{POLICIES}/p")
    made["spec"]["failurePolicy"] = "Ignore"
    await api.ok("PUT", f"{POLICIES}/p", made)
    await api.ok("POST", MAPS, config_map(a="b"))


async def test_conditions_decide_whether_a_policy_applies(api):
    conditions = [{"name": "others", "expression": "!(request.userInfo.username == 'admin')"}]
    await enforce(api, policy({"expression": "false"}, matchConditions=conditions))
    await api.ok("POST", MAPS, config_map())


async def test_variables_build_on_each_other(api):
    variables = [
        {"name": "names", "expression": "object.data.map(k, k)"},
        {"name": "count", "expression": "variables.names.size()"},
    ]
    await enforce(api, policy({"expression": "variables.count < 2"}, variables=variables))
    await api.ok("POST", MAPS, config_map(a="1"))
    code, _ = await api("POST", MAPS, config_map("d", a="1", b="2"))
    assert code == 422


async def test_parameters_come_from_the_object_that_the_binding_names(api):
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    made = policy({"expression": "int(object.data.n) <= int(params.data.most)"}, paramKind=kind)
    reference = {"name": "limits", "namespace": "kube-system", "parameterNotFoundAction": "Deny"}
    await enforce(api, made, paramRef=reference)
    code, status = await api("POST", MAPS, config_map(n="1"))
    assert code == 422
    assert "no params found for policy binding with `Deny` parameterNotFoundAction" in status["message"]
    await api.ok("DELETE", f"{BINDINGS}/b")
    await api.ok("POST", "/api/v1/namespaces/kube-system/configmaps", config_map("limits", most="3"))
    await api.ok("POST", BINDINGS, binding("Deny", paramRef=reference))
    await api.ok("POST", MAPS, config_map(n="3"))
    code, _ = await api("POST", MAPS, config_map("d", n="4"))
    assert code == 422


async def test_a_policy_may_ask_who_may_do_what_and_where(api):
    allowed = "authorizer.group('').resource('secrets').namespace('default').check('get').allowed()"
    inside = "namespaceObject.metadata.name == 'default'"
    own = "authorizer.requestResource.check('create').allowed()"
    await enforce(api, policy({"expression": f"{allowed} && {inside} && {own}"}))
    await api.ok("POST", MAPS, config_map())


async def test_a_policy_that_does_not_compile_is_refused(api):
    code, status = await api("POST", POLICIES, policy({"expression": "object.x +"}))
    assert code == 422
    assert "spec.validations[0].expression: Invalid value" in status["message"]
    code, status = await api("POST", POLICIES, policy({"expression": "1 + 1"}))
    assert "must evaluate to bool but got int" in status["message"]
    code, status = await api("POST", POLICIES, policy({"expression": "variables.nope"}))
    assert "undefined field 'nope'" in status["message"]


async def test_types_are_checked_against_what_the_policy_matches(api):
    rule = {**RULE, "apiGroups": ["apps"], "resources": ["deployments"]}
    match = {"resourceRules": [rule]}
    wrong = {"expression": "object.spec.replicas > '1'", "messageExpression": "string(object.spec.nope)"}
    made = await api.ok("POST", POLICIES, policy(wrong, {"expression": "has(object.spec)"}, matchConstraints=match))
    first, second = made["status"]["typeChecking"]["expressionWarnings"]
    assert first["fieldRef"] == "spec.validations[0].expression"
    assert first["warning"].startswith("apps/v1, Kind=Deployment: compilation failed: ERROR: <input>:1:22: found no")
    assert second["fieldRef"] == "spec.validations[0].messageExpression"
    assert "undefined field 'nope'" in second["warning"]
    made["spec"]["validations"] = [{"expression": "object.spec.replicas > 1"}]
    again = await api.ok("PUT", f"{POLICIES}/p", made)
    assert again["status"] == {"observedGeneration": 2, "typeChecking": {}}
