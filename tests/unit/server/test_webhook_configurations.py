"""What a webhook configuration may say, and what it says by default."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.server.conftest import Api

PATH = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


def webhook(**more: Any) -> dict[str, Any]:
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    return {
        "name": "a.example.com", "clientConfig": {"url": "https://example.com/x"}, "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "rules": [rule],
    } | more  # fmt: skip


def rule(**more: Any) -> dict[str, Any]:
    return webhook()["rules"][0] | more  # type: ignore[no-any-return]


async def test_defaults(api: Api) -> None:
    service = {"service": {"namespace": "default", "name": "hooks"}}
    body = {"metadata": {"name": "a"}, "webhooks": [webhook(clientConfig=service)]}
    (made,) = (await api.ok("POST", PATH, body))["webhooks"]
    assert made["clientConfig"]["service"]["port"] == 443
    assert made["rules"][0]["scope"] == "*"
    wanted = {
        "failurePolicy": "Fail", "matchPolicy": "Equivalent", "timeoutSeconds": 10, "reinvocationPolicy": "Never",
        "namespaceSelector": {}, "objectSelector": {},
    }  # fmt: skip
    assert {name: made[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("more", "field", "why"),
    [
        ({"name": "a.b"}, "name", "should be a domain with at least three segments separated by dots"),
        ({"name": ""}, "name", "Required value"),
        ({"sideEffects": None}, "sideEffects", "must specify one of None, NoneOnDryRun"),
        ({"sideEffects": "Some"}, "sideEffects", 'supported values: "None", "NoneOnDryRun"'),
        ({"sideEffects": "Unknown"}, "sideEffects", 'supported values: "None", "NoneOnDryRun"'),
        ({"admissionReviewVersions": []}, "admissionReviewVersions", "must specify one of v1, v1beta1"),
        ({"admissionReviewVersions": ["v2"]}, "admissionReviewVersions", "must include at least one of v1, v1beta1"),
        ({"admissionReviewVersions": ["v1", "v1"]}, "admissionReviewVersions[1]", "duplicate version"),
        ({"timeoutSeconds": 31}, "timeoutSeconds", "the timeout value must be between 1 and 30 seconds"),
        ({"timeoutSeconds": 0}, "timeoutSeconds", "the timeout value must be between 1 and 30 seconds"),
        ({"failurePolicy": "Maybe"}, "failurePolicy", "Unsupported value"),
        ({"reinvocationPolicy": "Maybe"}, "reinvocationPolicy", "Unsupported value"),
        ({"clientConfig": {}}, "clientConfig", "exactly one of url or service is required"),
        ({"clientConfig": {"url": "http://a"}}, "clientConfig.url", "'https' is the only allowed URL scheme"),
        ({"clientConfig": {"url": "https://a?b=c"}}, "clientConfig.url", "query parameters are not permitted"),
        ({"clientConfig": {"url": "https://u@a"}}, "clientConfig.url", "user information is not permitted"),
        ({"clientConfig": {"url": "https:///a"}}, "clientConfig.url", "host must be specified"),
        ({"clientConfig": {"service": {"name": "", "namespace": "n"}}}, "clientConfig.service.name", "is required"),
        (
            {"clientConfig": {"service": {"name": "s", "namespace": "n", "port": 70000}}},
            "clientConfig.service.port", "port is not valid: must be between 1 and 65535",
        ),
        (
            {"clientConfig": {"service": {"name": "s", "namespace": "n", "path": "x"}}},
            "clientConfig.service.path", "must start with a '/'",
        ),
        (
            {"clientConfig": {"service": {"name": "s", "namespace": "n", "path": "/a//b"}}},
            "clientConfig.service.path", "segment[1] may not be empty",
        ),
        ({"rules": [rule(operations=[])]}, "rules[0].operations", "Required value"),
        ({"rules": [rule(operations=["*", "CREATE"])]}, "rules[0].operations", "if '*' is present"),
        ({"rules": [rule(operations=["LOOK"])]}, "rules[0].operations[0]", "Unsupported value"),
        ({"rules": [rule(resources=["*/*", "pods"])]}, "rules[0].resources", "if '*/*' is present"),
        ({"rules": [rule(resources=["pods/*", "pods/log"])]}, "rules[0].resources[1]", "if 'pods/*' is present"),
        ({"rules": [rule(resources=["*", "pods"])]}, "rules[0].resources", "without subresources"),
        ({"rules": [rule(scope="Here")]}, "rules[0].scope", "Unsupported value"),
        (
            {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}},
            "namespaceSelector.matchExpressions[0].operator", "not a valid selector operator",
        ),
    ],
)  # fmt: skip
async def test_what_is_refused(api: Api, more: Any, field: str, why: str) -> None:
    code, answer = await api("POST", PATH, {"metadata": {"name": "a"}, "webhooks": [webhook(**more)]})
    assert code == 422
    causes = {cause["field"]: cause["message"] for cause in answer["details"]["causes"]}
    assert why in causes[f"webhooks[0].{field}"]


async def test_names_of_webhooks_are_unique(api: Api) -> None:
    code, answer = await api("POST", PATH, {"metadata": {"name": "a"}, "webhooks": [webhook(), webhook()]})
    assert code == 422
    assert answer["details"]["causes"][0]["field"] == "webhooks[1].name"
