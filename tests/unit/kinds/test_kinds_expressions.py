"""Expressions in admission's own kinds are compiled before they are stored."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.kinds.admissionregistration.strategy import PolicyBindingStrategy, PolicyStrategy, WebhookStrategy

MATCH = {"resourceRules": [{
    "apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["pods"], "scope": "*",
}]}  # fmt: skip


def found(strategy: Any, obj: dict[str, Any]) -> dict[str, str]:
    return {error.path: error.detail for error in strategy.check(obj, None)}


def policy(kind: str = "ValidatingAdmissionPolicy", **spec: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": "p"}, "spec": {"matchConstraints": MATCH, **spec}}


def test_the_conditions_of_a_webhook() -> None:
    conditions = [
        {"name": "a", "expression": "request.operation == 'CREATE'"},
        {"name": "a", "expression": "request.nope"},
        {"name": "b b", "expression": " "},
    ]
    webhook = {"name": "w.example.com", "matchConditions": conditions, "sideEffects": "None",
               "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://x"}}  # fmt: skip
    errors = found(WebhookStrategy(mutating=False), {"webhooks": [webhook]})
    assert (
        "compilation failed: ERROR: <input>:1:8: undefined field 'nope'"
        in (errors["webhooks[0].matchConditions[1].expression"])
    )
    assert errors["webhooks[0].matchConditions[1].name"] == 'Duplicate value: "a"'
    assert errors["webhooks[0].matchConditions[2].expression"].startswith("Required value")
    assert "webhooks[0].matchConditions[2].name" in errors


@pytest.mark.parametrize(
    ("spec", "path", "text"),
    [
        ({}, "spec.validations", "validations or auditAnnotations must be non-empty"),
        ({"validations": [{"expression": ""}]}, "spec.validations[0].expression", "expression is not specified"),
        ({"validations": [{"expression": "params.x"}]}, "spec.validations[0].expression", "undeclared reference"),
        (
            {"validations": [{"expression": "true", "message": "a\nb"}]},
            "spec.validations[0].message", "must not contain line breaks",
        ),
        (
            {"validations": [{"expression": "true", "messageExpression": "1"}]},
            "spec.validations[0].messageExpression", "must evaluate to string but got int",
        ),
        (
            {"validations": [{"expression": "true", "messageExpression": "string(authorizer)"}]},
            "spec.validations[0].messageExpression", "undeclared reference to 'authorizer'",
        ),
        (
            {"validations": [{"expression": "true", "reason": "Gone"}]},
            "spec.validations[0].reason", "Unsupported value",
        ),
        (
            {"auditAnnotations": [{"key": "k", "valueExpression": "1"}]},
            "spec.auditAnnotations[0].valueExpression", "must evaluate to one of [string null] but got int",
        ),
        (
            {"variables": [{"name": "1", "expression": "1"}], "validations": [{"expression": "true"}]},
            "spec.variables[0].name", "name is not a valid CEL identifier",
        ),
        (
            {"variables": [{"name": "a", "expression": "variables.b"}], "validations": [{"expression": "true"}]},
            "spec.variables[0].expression", "undefined field 'b'",
        ),
    ],
)  # fmt: skip
def test_a_validating_policy(spec: dict[str, Any], path: str, text: str) -> None:
    assert text in found(PolicyStrategy(), policy(**spec))[path]


@pytest.mark.parametrize(
    ("mutations", "path", "text"),
    [
        ([], "spec.mutations", "Required value"),
        ([{"patchType": "Merge"}], "spec.mutations[0].patchType", 'supported values: "ApplyConfiguration"'),
        ([{"patchType": "JSONPatch"}], "spec.mutations[0].jsonPatch", "must be specified when patchType is JSONPatch"),
        (
            [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{nope: 1}]"}}],
            "spec.mutations[0].jsonPatch.expression", "undefined field 'nope'",
        ),
        (
            [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 1}]"}}],
            "spec.mutations[0].jsonPatch.expression", "expected type of field 'op' is 'string'",
        ),
    ],
)  # fmt: skip
def test_a_mutating_policy(mutations: list[Any], path: str, text: str) -> None:
    assert text in found(PolicyStrategy(), policy("MutatingAdmissionPolicy", mutations=mutations))[path]


def test_what_was_stored_is_not_compiled_again() -> None:
    stored = policy(validations=[{"expression": "no longer + valid"}])
    assert not list(PolicyStrategy().check(stored, stored))


def test_a_binding() -> None:
    spec: dict[str, Any] = {"policyName": "p", "validationActions": ["Deny", "Warn", "Deny"]}
    obj = {"kind": "ValidatingAdmissionPolicyBinding", "spec": {**spec, "paramRef": {"name": "a", "selector": {}}}}
    errors = found(PolicyBindingStrategy(), obj)
    assert "must not contain both Deny and Warn" in errors["spec.validationActions"]
    assert errors["spec.validationActions[2]"] == 'Duplicate value: "Deny"'
    assert "mutually exclusive" in errors["spec.paramRef.name"]
    assert "spec.paramRef.parameterNotFoundAction" in errors
