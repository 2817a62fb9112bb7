"""Custom objects: pruning, defaulting and validation by a CustomResourceDefinition's schema."""

from __future__ import annotations

import pytest

from tiphys.api import check, validation
from tiphys.api.custom_schema import from_openapi_v3
from tiphys.api.errors import BadRequest


def errors(spec_schema, value):
    schema = from_openapi_v3({"properties": {"spec": spec_schema}})
    obj = {"spec": value}
    return [str(error) for error in (*check.validate(schema, obj), *validation.repeated(schema, obj))]


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ({"type": "integer"}, "x", 'spec: Invalid value: "string": spec in body must be of type integer: "string"'),
        ({"type": "string"}, 1, 'spec: Invalid value: "integer": spec in body must be of type string: "integer"'),
        ({"type": "string"}, None, 'spec: Invalid value: "null": spec in body must be of type string: "null"'),
        ({"type": "string", "enum": ["a", "b"]}, "c", 'spec: Unsupported value: "c": supported values: "a", "b"'),
        ({"type": "string", "pattern": "^a+$"}, "ab", "spec: Invalid value: \"ab\": spec in body should match '^a+$'"),
        ({"type": "string", "pattern": "^a$"}, "a\n", "spec: Invalid value: \"a\\n\": spec in body should match '^a$'"),
        (
            {"type": "string", "minLength": 2},
            "a",
            'spec: Invalid value: "a": spec in body should be at least 2 chars long',
        ),
        ({"type": "string", "maxLength": 2}, "abc", "spec: Too long: may not be more than 2 bytes"),
        (
            {"type": "integer", "minimum": 1},
            0,
            "spec: Invalid value: 0: spec in body should be greater than or equal to 1",
        ),
        (
            {"type": "integer", "maximum": 5, "exclusiveMaximum": True},
            5,
            "spec: Invalid value: 5: spec in body should be less than 5",
        ),
        (
            {"type": "number", "multipleOf": 0.5},
            0.7,
            "spec: Invalid value: 0.7: spec in body should be a multiple of 0.5",
        ),
        (
            {"type": "array", "items": {"type": "string"}, "maxItems": 2},
            ["a", "b", "c"],
            "spec: Too many: 3: must have at most 2 items",
        ),
        (
            {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            ["a", "a"],
            'spec: Invalid value: ["a","a"]: spec in body shouldn\'t contain duplicates',
        ),
        (
            {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            ["a", "a"],
            'spec[1]: Duplicate value: "a"',
        ),
        ({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}, {}, "spec.a: Required value"),
        ({"type": "string", "format": "ipv4"}, "x", 'spec: Invalid value: "x": spec in body must be of type ipv4: "x"'),
        (
            {"x-kubernetes-int-or-string": True},
            [],
            'spec: Invalid value: "array": spec in body must be of type integer,string: "array"',
        ),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_upstream(schema, value, message):
    assert errors(schema, value) == [message]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, 3),
        ({"type": "integer"}, 3.0),
        ({"type": "number"}, 3),
        ({"type": "string", "nullable": True}, None),
        ({"x-kubernetes-int-or-string": True}, "25%"),
        ({"type": "string", "format": "unheard-of"}, "x"),
        ({"type": "string", "format": "date-time"}, "2024-01-01T00:00:00Z"),
        ({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, {"a": [1, {"b": None}]}),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {"a": 1}),
    ],
)
def test_what_is_right_is_left_alone(schema, value):
    assert errors(schema, value) == []


def test_items_of_a_map_list_are_unique_by_their_keys():
    item = {"type": "object", "properties": {"name": {"type": "string"}, "value": {"type": "string"}}}
    schema = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": item}
    assert errors(schema, [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]) == [
        'spec[1]: Duplicate value: {"name":"a"}'
    ]


def test_alternatives():
    either = [{"required": ["a"]}, {"required": ["b"]}]
    base = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    assert errors({**base, "oneOf": either}, {"a": "x"}) == []
    assert "Found none valid" in errors({**base, "oneOf": either}, {})[0]
    assert "Found 2 valid alternatives" in errors({**base, "oneOf": either}, {"a": "x", "b": "x"})[0]
    assert errors({**base, "anyOf": either}, {"a": "x", "b": "x"}) == []
    assert "(anyOf)" in errors({**base, "anyOf": either}, {})[0]
    assert errors({**base, "allOf": either}, {"a": "x"}) == [
        '<nil>: Invalid value: "": "spec" must validate all the schemas (allOf)', "spec.b: Required value"
    ]  # fmt: skip
    assert "(allOf). None validated" in errors({**base, "allOf": either}, {})[0]
    assert "must not validate the schema (not)" in errors({**base, "not": {"required": ["a"]}}, {"a": "x"})[0]


WIDGET = from_openapi_v3(
    {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "size": {"type": "integer", "default": 3},
                    "box": {
                        "type": "object",
                        "default": {},
                        "properties": {"color": {"type": "string", "default": "red"}},
                    },
                    "parts": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"n": {"type": "integer", "default": 1}}},
                    },
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    "maybe": {"type": "string", "nullable": True, "default": "x"},
                },
            }
        },
    }
)


def widget(**spec):
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec}


def test_defaults_fill_what_is_absent_at_every_depth():
    obj = widget(parts=[{}, {"n": 5}], size=None, maybe=None)
    check.default(WIDGET, obj)
    assert obj["spec"] == {"parts": [{"n": 1}, {"n": 5}], "size": 3, "maybe": None, "box": {"color": "red"}}


def test_defaults_are_not_shared_between_objects():
    first, second = widget(), widget()
    check.default(WIDGET, first)
    check.default(WIDGET, second)
    first["spec"]["box"]["color"] = "blue"
    assert second["spec"]["box"]["color"] == "red"


def test_pruning_removes_what_is_not_declared_and_says_so():
    obj = widget(size=1, extra=True, free={"a": {"b": 1}}, parts=[{"n": 1, "m": 2}])
    assert check.prune(WIDGET, obj) == ['unknown field "spec.extra"', 'unknown field "spec.parts[0].m"']
    assert obj == widget(size=1, free={"a": {"b": 1}}, parts=[{"n": 1}])


def test_decoding_a_custom_object_checks_its_metadata_as_a_built_in_and_prunes_the_rest():
    obj = widget(size=1, extra=2)
    obj["metadata"] = {"name": "w", "creationTimestamp": None, "nonsense": 1}
    assert check.decode(WIDGET, obj) == ['unknown field "metadata.nonsense"', 'unknown field "spec.extra"']
    assert obj == widget(size=1)
    obj["metadata"]["labels"] = {"a": 1}
    with pytest.raises(BadRequest, match=r"number into Go struct field ObjectMeta.metadata.labels of type string"):
        check.decode(WIDGET, obj)
