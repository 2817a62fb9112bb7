"""Validation rules of custom resources, from the definition to the refused object."""

from __future__ import annotations

import copy
from typing import Any

from tests.unit.server.test_custom_resources import CRDS, DEFINITION, MERGE, WIDGETS, define, widget


def definition(spec: dict[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(DEFINITION)
    schema = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"] |= spec
    return made


def ruled(*rules: dict[str, Any], **properties: Any) -> dict[str, Any]:
    fields = {"size": {"type": "integer"}, "colour": {"type": "string", "default": "red"}, **properties}
    return definition({"properties": fields, "x-kubernetes-validations": list(rules)})


async def refused(api: Any, method: str, path: str, body: Any, **rest: Any) -> str:
    code, status = await api(method, path, body, **rest)
    assert code == 422, status
    return str(status["message"])


async def test_an_object_that_breaks_a_rule_is_refused(api):
    await define(api, ruled({"rule": "self.size <= 5", "message": "too large"}))
    await api.ok("POST", WIDGETS, widget(size=5))
    message = await refused(api, "POST", WIDGETS, widget("v", size=6))
    assert message == 'Widget.example.com "v" is invalid: spec: Invalid value: too large'


async def test_a_rule_may_look_at_what_was_and_compute_its_message(api):
    rule = {"rule": "self.size >= oldSelf.size", "messageExpression": "'a ' + self.colour + ' one does not shrink'"}
    colour = {"type": "string", "maxLength": 10}
    await define(api, ruled({**rule, "fieldPath": ".size", "reason": "FieldValueForbidden"}, colour=colour))
    await api.ok("POST", WIDGETS, widget(size=3, colour="blue"))
    message = await refused(api, "PATCH", f"{WIDGETS}/w", {"spec": {"size": 2}}, content_type=MERGE)
    assert message.endswith("spec.size: Forbidden: a blue one does not shrink")


async def test_a_failure_that_an_update_did_not_cause_is_forgiven(api):
    await define(api, ruled({"rule": "true"}))
    await api.ok("POST", WIDGETS, widget(size=9))
    stricter = ruled({"rule": "self.size <= 5"})
    await api.ok("PATCH", f"{CRDS}/widgets.example.com", {"spec": stricter["spec"]}, content_type=MERGE)
    labels = {"metadata": {"labels": {"a": "b"}}}
    await api.ok("PATCH", f"{WIDGETS}/w", labels, content_type=MERGE)
    message = await refused(api, "PATCH", f"{WIDGETS}/w", {"spec": {"size": 8}}, content_type=MERGE)
    assert "failed rule: self.size <= 5" in message


async def test_a_definition_whose_rule_is_no_expression_is_refused(api):
    message = await refused(api, "POST", CRDS, ruled({"rule": "self.sise > 1"}))
    assert "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value" in message
    assert "compilation failed: ERROR: <input>:1:5: undefined field 'sise'" in message


async def test_a_definition_whose_rule_costs_too_much_is_refused(api):
    names = {"type": "array", "items": {"type": "string"}}
    rule = {"rule": "self.names.all(x, self.names.exists(y, x == y))"}
    message = await refused(api, "POST", CRDS, ruled(rule, names=names))
    assert "estimated rule cost exceeds budget by factor of more than 100x" in message
    bounded = {"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 10}}
    await define(api, ruled(rule, names=bounded))


async def test_old_values_cannot_be_used_where_they_cannot_be_told_apart(api):
    item = {"type": "integer", "x-kubernetes-validations": [{"rule": "self >= oldSelf"}]}
    numbers = {"type": "array", "maxItems": 3, "items": item}
    message = await refused(api, "POST", CRDS, ruled(numbers=numbers))
    assert "oldSelf cannot be used on the uncorrelatable portion of the schema within spec.validation" in message


async def test_a_default_must_keep_the_rules(api):
    colour = {"type": "string", "default": "red", "x-kubernetes-validations": [{"rule": "self != 'red'"}]}
    message = await refused(api, "POST", CRDS, ruled(colour=colour))
    assert "properties[colour].default: Invalid value" in message
    assert "failed rule: self != 'red'" in message


async def test_rules_wait_for_an_object_of_the_right_shape(api):
    await define(api, ruled({"rule": "self.size <= 5"}))
    message = await refused(api, "POST", WIDGETS, widget(size="many"))
    assert "some validation rules were not checked because the object was invalid" in message
    assert "failed rule" not in message


async def test_rules_are_run_on_each_item_and_value(api):
    item = {"type": "object", "properties": {"n": {"type": "integer"}}}
    item["x-kubernetes-validations"] = [{"rule": "self.n > 0", "message": "positive"}]
    items = {"type": "array", "items": item}
    values = {"type": "object", "additionalProperties": {"type": "string", "x-kubernetes-validations": [
        {"rule": "self != ''", "message": "not empty"},
    ]}}  # fmt: skip
    await define(api, ruled(items=items, values=values))
    message = await refused(api, "POST", WIDGETS, widget(size=1, items=[{"n": 1}, {"n": 0}], values={"a": ""}))
    assert "spec.items[1]: Invalid value: positive" in message
    assert 'spec.values[a]: Invalid value: "": not empty' in message
