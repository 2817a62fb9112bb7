"""What a CustomResourceDefinition may say: every complaint in upstream's words and with its place."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tiphys.kinds.apiextensions.customresourcedefinition import CUSTOM_RESOURCE_DEFINITIONS

Json = dict[str, Any]
AT = "spec.validation.openAPIV3Schema"
OBJECT: Json = {"type": "object"}


def definition(schema: Json | None = None, **spec: Any) -> Json:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema or OBJECT}}
    for name in ("additionalPrinterColumns", "subresources", "selectableFields", "deprecated", "deprecationWarning"):
        if name in spec:
            version[name] = spec.pop(name)
    names = {"plural": "ships", "kind": "Ship"}
    return {
        "metadata": {"name": "ships.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version], **spec},
    }


def problems(new: Json, old: Json | None = None) -> list[str]:
    strategy = CUSTOM_RESOURCE_DEFINITIONS.strategy
    new = copy.deepcopy(new)
    if old is not None:
        old = copy.deepcopy(old)
        strategy.default(old)
        strategy.prepare(old, None)
        old["status"] |= {"conditions": [{"type": "Established", "status": "True"}]}
        new["status"] = copy.deepcopy(old["status"])
    strategy.default(new)
    strategy.prepare(new, old)
    return [str(error) for error in strategy.validate(new, old)]


def spec(**properties: Any) -> Json:
    return {"type": "object", "properties": properties}


LIST = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
ITEM = {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"properties": {}}, [f"{AT}.type: Required value: must not be empty at the root"]),
        ({"type": "array", "items": {"type": "string"}}, [
            f'{AT}.type: Invalid value: "array": must be object at the root']),
        (spec(a={}), [f"{AT}.properties[a].type: Required value: must not be empty for specified object fields"]),
        (spec(a={"type": "array", "items": {}}), [
            f"{AT}.properties[a].items.type: Required value: must not be empty for specified array items"]),
        (spec(a={"type": "array"}), [f"{AT}.properties[a].items: Required value: must be specified"]),
        ({"type": "object", "additionalProperties": {"type": "string"}}, [
            f"{AT}.additionalProperties: Forbidden: must not be used at the root"]),
        (spec(a={"type": "strange"}), [
            f'{AT}.properties[a].type: Unsupported value: "strange": supported values: '
            '"array", "boolean", "integer", "number", "object", "string"']),
        (spec(a={**spec(b={"type": "string"}), "additionalProperties": {"type": "string"}}), [
            f"{AT}.properties[a].additionalProperties: Forbidden: additionalProperties and properties are "
                "mutual exclusive"]),
        (spec(a={"type": "array", "items": {"type": "string"}, "uniqueItems": True}), [
            f"{AT}.properties[a].uniqueItems: Forbidden: "
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"]),
        ({"type": "object", "nullable": True}, [f"{AT}.nullable: Forbidden: nullable cannot be true at the root"]),
        (spec(a={"type": "string", "pattern": "["}), [
            f'{AT}.properties[a].pattern: Invalid value: "[": must be a valid regular expression, but isn\'t: '
            "error parsing regexp: missing closing ]: `[`"]),
        (spec(a={"type": "string", "$ref": "#/x"}), [f"{AT}.properties[a].$ref: Forbidden: $ref is not supported"]),
        (spec(a={"type": "object", "x-kubernetes-preserve-unknown-fields": False}), [
            f"{AT}.properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or "
                "undefined"]),
        (spec(a={"x-kubernetes-int-or-string": True, "x-kubernetes-preserve-unknown-fields": True}), [
            f"{AT}.properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: true: "
            "must be false if x-kubernetes-int-or-string is true"]),
        (spec(a={"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}), []),
        (spec(a={"x-kubernetes-int-or-string": True,
                 "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "^a"}]}), []),
        (spec(a={"type": "string", "anyOf": [{"type": "string"}, {"pattern": "^a"}]}), [
            f"{AT}.properties[a].anyOf[0].type: Forbidden: must be empty to be structural"]),
        ({**spec(a={"type": "string"}), "oneOf": [{"required": ["a"], "description": "x", "nullable": True}]}, [
            f"{AT}.oneOf[0].description: Forbidden: must be empty to be structural",
            f"{AT}.oneOf[0].nullable: Forbidden: must be false to be structural"]),
        ({**spec(a={"type": "string"}), "not": {"properties": {"b": {"enum": ["x"]}}}}, [
            f"{AT}.properties[b]: Required value: because it is defined in {AT}.not.properties[b]"]),
        ({**spec(a={"type": "string"}), "allOf": [{"properties": {"metadata": {"required": ["x"]}}}]}, [
            f"{AT}.allOf[0].properties[metadata]: Forbidden: must not be specified in a nested context",
            f"{AT}.properties[metadata]: Required value: because it is defined in {AT}.allOf[0].properties[metadata]"]),
        (spec(metadata={"type": "object", "properties": {"labels": {"type": "object"}}}), [
            f"{AT}.properties[metadata]: Forbidden: must not specify anything other than name and generateName, "
            "but metadata is implicitly specified"]),
        (spec(metadata={"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}}), []),
        (spec(kind={"type": "integer"}), [
            f'{AT}.properties[kind].type: Invalid value: "integer": must be string']),
        (spec(a={"type": "object", "x-kubernetes-embedded-resource": True}), [
            f"{AT}.properties[a].properties: Required value: must not be empty if "
                "x-kubernetes-embedded-resource is true "
            "without x-kubernetes-preserve-unknown-fields"]),
        (spec(a={**LIST, "items": ITEM}), []),
        (spec(a={**LIST, "x-kubernetes-list-map-keys": [], "items": ITEM}), [
            f"{AT}.properties[a].x-kubernetes-list-map-keys: Required value: "
            "must not be empty if x-kubernetes-list-type is map"]),
        (spec(a={**LIST, "x-kubernetes-list-map-keys": ["k", "k"], "items": ITEM}), [
            f'{AT}.properties[a].x-kubernetes-list-map-keys: Invalid value: ["k","k"]: must not contain '
                'duplicate entries']),
        (spec(a={**LIST, "items": spec(k={"type": "string"})}), [
            f"{AT}.properties[a].items.properties[k].default: Required value: this property is in "
            "x-kubernetes-list-map-keys, so it must have a default or be a required property"]),
        (spec(a={**LIST, "items": {**ITEM, "nullable": True}}), [
            f"{AT}.properties[a].items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is map"]),
        (spec(a={**LIST, "items": spec(b={"type": "string"})}), [
            f'{AT}.properties[a].x-kubernetes-list-map-keys: Invalid value: ["k"]: '
            "entries must all be names of item properties"]),
        (spec(a={"type": "array", "x-kubernetes-list-type": "bag", "items": {"type": "string"}}), [
            f'{AT}.properties[a].x-kubernetes-list-type: Unsupported value: "bag": '
            'supported values: "atomic", "set", "map"']),
        (spec(a={"type": "array", "x-kubernetes-list-type": "set", "items": spec(b={"type": "string"})}), [
            f"{AT}.properties[a].items.x-kubernetes-map-type: Invalid value: null: "
            "must be atomic as item of a list with x-kubernetes-list-type=set"]),
        (spec(a={"type": "string", "x-kubernetes-map-type": "atomic"}), [
            f'{AT}.properties[a].type: Invalid value: "string": must be object if x-kubernetes-map-type is specified']),
        (spec(a={"type": "integer", "default": "x"}), [
            f'{AT}.properties[a].default: Invalid value: "string": in body must be of type integer: "string"']),
        (spec(a={**spec(b={"type": "string"}), "default": {"b": "x", "c": 1}}), [
            f'{AT}.properties[a].default: Invalid value: {{"b":"x","c":1}}: must not have unknown fields']),
        (spec(a={**spec(b={"type": "integer", "minimum": 3}), "default": {"b": 1}}), [
            f"{AT}.properties[a].default.b: Invalid value: 1: b in body should be greater than or equal to 3"]),
        (spec(metadata={"type": "object", "properties": {"name": {"type": "string", "default": "x"}}}), [
            f"{AT}.properties[metadata].properties[name].default: Forbidden: must not be set in top-level metadata"]),
        ({**OBJECT, "default": {}}, [
            f"{AT}.default.apiVersion: Required value", f"{AT}.default.kind: Required value"]),
    ],
)  # fmt: skip
def test_schemas(schema: Json, expected: list[str]) -> None:
    assert problems(definition(schema)) == expected


def test_a_root_with_a_status_says_only_what_can_be_judged_in_parts() -> None:
    with_status = {"subresources": {"status": {}}}
    assert problems(definition({**OBJECT, "description": "d", "required": ["spec"]}, **with_status)) == []
    (found,) = problems(definition({**OBJECT, "maxProperties": 3}, **with_status))
    assert found.startswith(f"{AT}: Invalid value: ")
    assert "fields are allowed at the root of the schema if the status subresource is enabled" in found


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"group": "example"}, ['metadata.name: Invalid value: "ships.example.com": must be '
            'spec.names.plural+"."+spec.group',
                                'spec.group: Invalid value: "example": should be a domain with at least one dot']),
        ({"scope": ""}, ["spec.scope: Required value"]),
        ({"scope": "Galaxy"}, ['spec.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespaced"']),
        ({"names": {"plural": "ships", "kind": "Ship", "listKind": "Ship"}}, [
            'spec.names.listKind: Invalid value: "Ship": kind and listKind may not be the same']),
        ({"preserveUnknownFields": True}, [
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set "
            "x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"]),
        ({"deprecationWarning": "old"}, [
            'spec.versions[0].deprecationWarning: Invalid value: "old": can only be set for deprecated versions']),
        ({"additionalPrinterColumns": [{"name": "A", "type": "text", "jsonPath": "spec.a"}]}, [
            'spec.additionalPrinterColumns[0].type: Invalid value: "text": '
            "must be one of boolean,date,integer,number,string",
            'spec.additionalPrinterColumns[0].JSONPath: Invalid value: "spec.a": must be a simple json path '
                'starting with .']),
        ({"subresources": {"scale": {"specReplicasPath": ".status.a", "statusReplicasPath": ""}}}, [
            'spec.subresources.scale.specReplicasPath: Invalid value: ".status.a": should be a json path under .spec',
            "spec.subresources.scale.statusReplicasPath: Required value"]),
        ({"conversion": {"strategy": "Magic"}}, [
            'spec.conversion.strategy: Unsupported value: "Magic": supported values: "None", "Webhook"']),
        ({"conversion": {"strategy": "Webhook"}}, [
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
            "spec.conversion.conversionReviewVersions: Required value"]),
        ({"conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {}, "conversionReviewVersions": ["v9"]}}}, [
            "spec.conversion.webhookClientConfig: Required value: exactly one of url or service is required",
            'spec.conversion.conversionReviewVersions: Invalid value: ["v9"]: must include at least one of v1, '
                'v1beta1']),
        ({"conversion": {"strategy": "None", "webhook": {"clientConfig": {"url": "https://x.y"}}}}, [
            "spec.conversion.webhookClientConfig: Forbidden: should not be set when strategy is not set to Webhook"]),
    ],
)  # fmt: skip
def test_the_rest_of_a_definition(facts: Json, expected: list[str]) -> None:
    assert problems(definition(**facts)) == expected


FIELDS = spec(spec=spec(a={"type": "string"}, n={"type": "number"}, **{f"f{i}": {"type": "string"} for i in range(9)}))


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([".spec.a"], []),
        ([".spec.x"], ['[0].jsonPath: Invalid value: ".spec.x": is an invalid path: does not refer to a valid field']),
        ([".spec.a", ".spec.a"], ['[1].jsonPath: Duplicate value: ".spec.a"']),
        ([".spec.n"], ['[0].jsonPath: Invalid value: ".spec.n": must point to a field of type string, boolean '
            'or integer. '
                       "Enum string fields and strings with formats are allowed."]),
        ([f".spec.f{i}" for i in range(9)], [": Too many: 9: must have at most 8 items"]),
    ],
)  # fmt: skip
def test_selectable_fields(paths: list[str], expected: list[str]) -> None:
    found = problems(definition(FIELDS, selectableFields=[{"jsonPath": path} for path in paths]))
    assert found == [f"spec.selectableFields{each}" for each in expected]


def test_places_name_the_version_where_versions_differ() -> None:
    new = definition(spec(a={}))
    new["spec"]["versions"].append(
        {"name": "v2", "served": True, "storage": False, "schema": {"openAPIV3Schema": OBJECT}}
    )
    assert problems(new) == [
        "spec.versions[0].schema.openAPIV3Schema.properties[a].type: Required value: must not be empty for specified "
        "object fields"
    ]


def test_what_may_not_change() -> None:
    old = definition()
    assert problems(definition(scope="Cluster"), old) == [
        'spec.scope: Invalid value: "Cluster": field is immutable',
    ]
    renamed = definition(names={"plural": "ships", "kind": "Boat", "listKind": "BoatList", "singular": "boat"})
    assert problems(renamed, old) == ['spec.names.kind: Invalid value: "Boat": field is immutable']


def test_a_version_that_objects_are_stored_in_stays() -> None:
    new = definition()
    new["spec"]["versions"][0]["name"] = "v2"
    found = problems(new, definition())
    assert found == [
        'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was previously a storage '
        "version, "
        "and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and "
        "removes "
        "v1 from status.storedVersions"
    ]


def test_the_projects_own_groups_need_an_approval() -> None:
    def of(**annotations: str) -> list[str]:
        new = definition(group="x.k8s.io")
        new["metadata"] = {"name": "ships.x.k8s.io", "annotations": annotations}
        return problems(new)

    key = "api-approved.kubernetes.io"
    (missing,) = of()
    assert missing.startswith(f"metadata.annotations[{key}]: Required value: protected groups must have approval")
    assert len(of(**{key: "yes"})) == 1
    assert of(**{key: "https://github.com/kubernetes/kubernetes/pull/1"}) == []
    assert of(**{key: "unapproved, a test"}) == []


def test_unknown_formats_are_warned_of_once() -> None:
    new = definition(spec(a={"type": "string", "format": "phone"}, b={"type": "string", "format": "date-time"}))
    strategy = CUSTOM_RESOURCE_DEFINITIONS.strategy
    assert list(strategy.warnings(new, None)) == ['unrecognized format "phone"']
    assert list(strategy.warnings(new, new)) == []
