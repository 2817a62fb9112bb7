"""One definition with about everything that the large ones of the ecosystem use, and objects of its kind."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.unit.server.test_custom_resources import define

GROUP = "delivery.example.com"
ROUTES = f"/apis/{GROUP}/v1/namespaces/default/routes"
TEXT = {"type": "string"}


def obj(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **more}


CONDITION = obj(
    {
        "type": {**TEXT, "maxLength": 316,
                 "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?([A-Za-z0-9][-\w.]*)?[A-Za-z0-9]$"},
        "status": {**TEXT, "enum": ["True", "False", "Unknown"]},
        "lastTransitionTime": {**TEXT, "format": "date-time"},
    },
    required=["type", "status"],
)  # fmt: skip
MATCH = obj(
    {"exact": TEXT, "prefix": TEXT, "regex": {**TEXT, "pattern": "^(?i)[a-z.*]+$"}},
    oneOf=[{"required": ["exact"]}, {"required": ["prefix"]}, {"required": ["regex"]}],
)
SPEC = obj(
    {
        "hosts": {"type": "array", "items": {**TEXT, "format": "hostname"}, "minItems": 1,
                  "x-kubernetes-list-type": "set"},
        "rules": {
            "type": "array", "maxItems": 16, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": obj(
                {
                    "name": {**TEXT, "maxLength": 63},
                    "match": MATCH,
                    "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}],
                             "default": 80},
                    "weight": {"type": "integer", "format": "int32", "minimum": 0, "maximum": 100, "default": 1},
                    "timeout": {**TEXT, "format": "duration", "nullable": True},
                },
                required=["name"],
            ),
            "x-kubernetes-validations": [
                {"rule": "self.all(r, r.weight == 0) || self.map(r, r.weight).sum() <= 100",
                 "messageExpression": "'too much weight from ' + self[0].name + ' on'"},
            ],
        },
        "resources": {"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": True,
                      "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(m|[KMGTPE]i?)?$"}},
        "template": {"type": "object", "x-kubernetes-embedded-resource": True,
                     "x-kubernetes-preserve-unknown-fields": True},
        "options": obj({"level": {**TEXT, "default": "info"}}, default={}, **{"x-kubernetes-map-type": "atomic"}),
        "cidr": {**TEXT, "format": "cidr"},
        "replicas": {"type": "integer", "format": "int32", "minimum": 0},
    },
    required=["hosts"],
)  # fmt: skip
DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": f"routes.{GROUP}", "annotations": {"controller-gen.kubebuilder.io/version": "v0.16.0"}},
    "spec": {
        "group": GROUP, "scope": "Namespaced",
        "names": {"plural": "routes", "kind": "Route", "listKind": "RouteList", "shortNames": ["rt"],
                  "categories": ["all", "delivery"]},
        "versions": [{
            "name": "v1", "served": True, "storage": True,
            "schema": {"openAPIV3Schema": obj({
                "apiVersion": {**TEXT, "description": "The version."}, "kind": TEXT, "metadata": {"type": "object"},
                "spec": SPEC,
                "status": obj({"replicas": {"type": "integer"}, "selector": TEXT,
                               "conditions": {"type": "array", "items": CONDITION, "x-kubernetes-list-type": "map",
                                              "x-kubernetes-list-map-keys": ["type"]}}),
            }, description="A route.", required=["spec"])},
            "subresources": {"status": {}, "scale": {
                "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector"}},
            "selectableFields": [{"jsonPath": ".spec.options.level"}],
            "additionalPrinterColumns": [
                {"name": "Hosts", "type": "string", "jsonPath": ".spec.hosts"},
                {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
                {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
            ],
        }],
    },
}  # fmt: skip
ROUTE: dict[str, Any] = {
    "apiVersion": f"{GROUP}/v1", "kind": "Route", "metadata": {"name": "shop"},
    "spec": {
        "hosts": ["shop.example.com", "www.example.com"],
        "rules": [
            {"name": "cart", "match": {"prefix": "/cart"}, "port": "http", "weight": 60, "timeout": "1m30s"},
            {"name": "rest", "match": {"regex": "ANY.*"}, "port": 8080, "weight": 40, "timeout": None},
        ],
        "resources": {"cpu": "250m", "memory": "1Gi", "pods": 3},
        "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": "b"}}, "spec": {"any": [1, None]}},
        "options": {"level": "debug"}, "cidr": "10.0.0.0/8", "replicas": 2,
    },
}  # fmt: skip


async def test_the_definition_is_accepted_without_a_word(api):
    answer = await api.respond("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", DEFINITION)
    assert (answer.status, answer.headers.get("Warning")) == (201, None)


async def test_an_object_is_stored_as_it_was_sent(api):
    await define(api, DEFINITION)
    made = await api.ok("POST", ROUTES, ROUTE, fieldValidation="Strict")
    assert made["spec"] == ROUTE["spec"]
    listed = await api.ok("GET", ROUTES, fieldSelector="spec.options.level=debug")
    assert [item["spec"] for item in listed["items"]] == [ROUTE["spec"]]
    status = {"replicas": 2, "selector": "a=b", "conditions": [{"type": "Ready", "status": "True"}]}
    await api.ok("PUT", f"{ROUTES}/shop/status", {**made, "status": status})
    table = await api.ok("GET", ROUTES, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert table["rows"][0]["cells"] == ["shop", '["shop.example.com","www.example.com"]', "True", "0s"]
    assert (await api.ok("GET", f"{ROUTES}/shop/scale"))["status"] == {"replicas": 2, "selector": "a=b"}


async def test_defaults_are_filled_in(api):
    await define(api, DEFINITION)
    sent = {**ROUTE, "spec": {"hosts": ["a.b"], "rules": [{"name": "x", "weight": None}]}}
    made = await api.ok("POST", ROUTES, sent)
    assert made["spec"] == {
        "hosts": ["a.b"], "rules": [{"name": "x", "weight": 1, "port": 80}], "options": {"level": "info"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hosts": []}, "spec.hosts in body should have at least 1 items"),
        ({"hosts": ["a.b", "a.b"]}, 'spec.hosts[1]: Duplicate value: "a.b"'),
        ({"hosts": ["not a host"]}, 'spec.hosts[0] in body must be of type hostname: "not a host"'),
        ({"cidr": "10.0.0.0"}, 'spec.cidr in body must be of type cidr: "10.0.0.0"'),
        ({"rules": [{"name": "a"}, {"name": "a"}]}, 'spec.rules[1]: Duplicate value: {"name":"a"}'),
        ({"rules": [{"name": "a", "match": {"exact": "x", "prefix": "y"}}]},
         '"spec.rules[0].match" must validate one and only one schema (oneOf). Found 2 valid alternatives'),
        ({"rules": [{"name": "a", "match": {"regex": "1"}}]}, "should match '^(?i)[a-z.*]+$'"),
        ({"rules": [{"name": "a", "port": True}]}, 'must be of type integer,string: "boolean"'),
        ({"rules": [{"name": "a", "weight": 90}, {"name": "b", "weight": 20}]},
         "spec.rules: Invalid value: too much weight from a on"),
        ({"resources": {"cpu": "much"}}, "spec.resources.cpu in body should match"),
        ({"template": {"kind": "Pod"}}, "spec.template.apiVersion: Required value"),
        ({"replicas": 2**31}, "should be less than or equal to 2147483647"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_refused(api, change, message):
    await define(api, DEFINITION)
    sent = copy.deepcopy(ROUTE)
    sent["spec"] |= change
    code, status = await api("POST", ROUTES, sent)
    assert code == 422, status
    assert message in status["message"]


async def test_it_is_published_whole(api):
    await define(api, DEFINITION)
    v3 = await api.ok("GET", f"/openapi/v3/apis/{GROUP}/v1")
    found = v3["components"]["schemas"]["com.example.delivery.v1.Route"]
    assert found["description"] == "A route."
    rules = found["properties"]["spec"]["properties"]["rules"]
    assert rules["x-kubernetes-list-map-keys"] == ["name"]
    assert rules["items"]["properties"]["match"]["oneOf"] == MATCH["oneOf"]
    assert rules["items"]["properties"]["timeout"]["nullable"] is True
    template = found["properties"]["spec"]["properties"]["template"]
    assert template["required"] == ["kind", "apiVersion"]
    assert found["x-kubernetes-selectable-fields"] == [{"fieldPath": "spec.options.level"}]
    v2 = await api.ok("GET", "/openapi/v2")
    old = v2["definitions"]["com.example.delivery.v1.Route"]["properties"]["spec"]["properties"]
    assert "oneOf" not in old["rules"]["items"]["properties"]["match"]
    assert "type" not in old["rules"]["items"]["properties"]["timeout"]
    assert v2["definitions"]["com.example.delivery.v1.RouteList"]["required"] == ["items"]
