"""Claims, slices and classes of devices that are wrong, and what upstream says of each."""

from typing import Any

import pytest

from tiphys.kinds.resource.deviceclass import DEVICE_CLASSES
from tiphys.kinds.resource.devicetaintrule import DEVICE_TAINT_RULES
from tiphys.kinds.resource.resourceclaim import RESOURCE_CLAIMS
from tiphys.kinds.resource.resourceclaimtemplate import RESOURCE_CLAIM_TEMPLATES
from tiphys.kinds.resource.resourceslice import RESOURCE_SLICES

Json = dict[str, Any]
GPU = {"deviceClassName": "gpu"}
NAMED = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"


def claim(*requests: Json, **devices: Any) -> Json:
    return {"spec": {"devices": {"requests": list(requests), **devices}}}


def exactly(**fields: Any) -> Json:
    return claim({"name": "a", "exactly": {**GPU, **fields}})


REQUEST = "spec.devices.requests[0]"
CLAIMS: list[tuple[Json, list[str]]] = [
    (exactly(), []),
    (claim({"name": "a"}), [
        f"{REQUEST}: Required value: exactly one of `exactly` or `firstAvailable` is required"]),
    (claim({"name": "a", "exactly": GPU, "firstAvailable": [{"name": "b", **GPU}]}), [
        f"{REQUEST}: Invalid value: null: "
        "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"]),
    (claim({"name": "a", "exactly": GPU}, {"name": "a", "exactly": GPU}), [
        'spec.devices.requests[1]: Duplicate value: "a"']),
    (claim(*({"name": f"a{i}", "exactly": GPU} for i in range(33))), [
        "spec.devices.requests: Too many: 33: must have at most 32 items"]),
    (claim({"name": "a", "firstAvailable": [{"name": "b"}]}), [
        f"{REQUEST}.firstAvailable[0].deviceClassName: Required value"]),
    (exactly(allocationMode="All", count=2), [
        f"{REQUEST}.exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'"]),
    (exactly(allocationMode="x"), [
        f'{REQUEST}.exactly.allocationMode: Unsupported value: "x": supported values: "All", "ExactCount"']),
    (exactly(count=-1), [f"{REQUEST}.exactly.count: Invalid value: -1: must be greater than zero"]),
    (exactly(selectors=[{}, {"cel": {"expression": "x" * 10241}}]), [
        f"{REQUEST}.exactly.selectors[0].cel: Required value",
        f"{REQUEST}.exactly.selectors[1].cel.expression: Too long: may not be more than 10240 bytes"]),
    (exactly(selectors=[
        {"cel": {"expression": 'device.driver == "x.io" && device.attributes["x.io"].model == "a"'}},
        {"cel": {"expression": "device.capacity['x.io'].memory.compareTo(quantity('1Gi')) >= 0"}}]), []),
    (exactly(selectors=[{"cel": {"expression": "nosuch"}}, {"cel": {"expression": "1"}}]), [
        f'{REQUEST}.exactly.selectors[0].cel.expression: Invalid value: "nosuch": compilation failed: '
        "ERROR: <input>:1:1: undeclared reference to 'nosuch' (in container '')\n | nosuch\n | ^",
        f'{REQUEST}.exactly.selectors[1].cel.expression: Invalid value: "1": '
        "must evaluate to bool or the unknown type, not int"]),
    (exactly(tolerations=[{"operator": "Exists", "value": "x", "effect": "y"}]), [
        f'{REQUEST}.exactly.tolerations[0].value: Invalid value: "x": must be empty for operator `Exists`',
        f'{REQUEST}.exactly.tolerations[0].effect: Unsupported value: "y": supported values: '
        '"NoExecute", "NoSchedule", "None"']),
    (claim({"name": "a", "exactly": GPU}, constraints=[{"requests": ["b"], "matchAttribute": "x"}, {}]), [
        f'spec.devices.constraints[0].requests[0]: Invalid value: "b": {NAMED}',
        'spec.devices.constraints[0].matchAttribute: Invalid value: "x": '
        "a fully qualified name must be a domain and a name separated by a slash",
        "spec.devices.constraints[1]: Required value: "
        'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set']),
    (claim({"name": "a", "firstAvailable": [{"name": "b", **GPU}]}, config=[
        {"requests": ["a/b", "a/c"]}, {"opaque": {"driver": "x.io", "parameters": 1}}]), [
        f'spec.devices.config[0].requests[1]: Invalid value: "a/c": {NAMED}',
        "spec.devices.config[0].opaque: Required value",
        'spec.devices.config[1].opaque.parameters: Invalid value: "<value omitted>": must be a valid JSON object']),
]  # fmt: skip


@pytest.mark.parametrize(("obj", "expected"), CLAIMS)
def test_claims(problems: Any, obj: Json, expected: list[str]) -> None:
    assert problems(RESOURCE_CLAIMS, obj) == expected
    template = {"spec": {"spec": obj["spec"]}}
    assert problems(RESOURCE_CLAIM_TEMPLATES, template) == [f"spec.{text}" for text in expected]


def test_claims_stay_as_they_were_made(update_problems: Any) -> None:
    (found,) = update_problems(RESOURCE_CLAIMS, exactly(), lambda new: new["spec"].update(devices={}))
    assert found == 'spec: Invalid value: {"devices":{}}: field is immutable'


RESULT = {"request": "a", "driver": "x.io", "pool": "p", "device": "d"}
ALLOCATION = {"devices": {"results": [RESULT]}}
STATUSES: list[tuple[Json, Json, list[str]]] = [
    ({}, {"allocation": ALLOCATION}, []),
    ({}, {"allocation": {"devices": {"results": [{**RESULT, "request": "b", "pool": ""}]}}}, [
        f'status.allocation.devices.results[0].request: Invalid value: "b": {NAMED}',
        "status.allocation.devices.results[0].pool: Required value"]),
    ({"allocation": {"devices": {}}}, {"allocation": ALLOCATION}, [
        'status.allocation: Invalid value: {"devices":{"results":'
        '[{"request":"a","driver":"x.io","pool":"p","device":"d"}]}}: field is immutable']),
    ({}, {"reservedFor": [{"resource": "pods", "name": "a"}]}, [
        "status.reservedFor[0].uid: Required value",
        "status.reservedFor: Forbidden: may not be specified when `allocated` is not set"]),
    ({"allocation": ALLOCATION}, {"allocation": ALLOCATION, "devices": [{**RESULT, "device": "e"}]}, [
        'status.devices[0]: Invalid value: "x.io/p/e": must be an allocated device in the claim']),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "expected"), STATUSES)
def test_what_a_claim_got(created: Any, before: Json, after: Json, expected: list[str]) -> None:
    base = created(RESOURCE_CLAIMS, exactly())
    new, old = ({**base, "status": status} for status in (after, before))
    assert [str(error) for error in RESOURCE_CLAIMS.strategy.validate(new, old)] == expected


def slice_(*devices: Json, **spec: Any) -> Json:
    whole = {"driver": "x.io", "pool": {"name": "p", "resourceSliceCount": 1}, "nodeName": "n", **spec}
    return {"spec": {**whole, "devices": list(devices)}}


PLACES = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
WHEN = "when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
SLICES: list[tuple[Json, list[str]]] = [
    (slice_({"name": "d", "attributes": {"model": {"string": "x"}}, "capacity": {"x.io/memory": {"value": "1"}}}), []),
    (slice_(nodeName=None), [f"spec: Required value: {PLACES}"]),
    (slice_(allNodes=True), [
        f'spec: Invalid value: "{{`nodeName`, `allNodes`}}": {PLACES}, but multiple fields are set']),
    (slice_(allNodes=False), ["spec.allNodes: Invalid value: false: must be either unset or set to true"]),
    (slice_(pool={"name": "", "generation": -1}), [
        "spec.pool.name: Required value",
        "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
        "spec.pool.generation: Invalid value: -1: must be greater than or equal to zero"]),
    (slice_(sharedCounters=[{"name": "c"}]), [
        'spec: Invalid value: "": only one of `sharedCounters` or `devices` is allowed',
        "spec.sharedCounters[0].counters: Required value"]),
    (slice_({"name": "d"}, {"name": "d"}), ['spec.devices[1]: Duplicate value: "d"']),
    (slice_(*({"name": f"d{i}", "taints": [{"key": "a", "effect": "None"}]} for i in range(65))), [
        "spec.devices: Too many: 65: must have at most 64 items"]),
    (slice_({"name": "d", "attributes": {"a": {}, "b": {"bool": True, "int": 1}, "c": {"version": "1"}}}), [
        'spec.devices[0].attributes[a]: Invalid value: "": exactly one value must be specified',
        'spec.devices[0].attributes[b]: Invalid value: {"bool":true,"int":1}: exactly one value must be specified',
        'spec.devices[0].attributes[c].version: Invalid value: "1": '
        "must be a string compatible with semver.org spec 2.0.0"]),
    (slice_({"name": "d", "capacity": {"/a": {"value": "1", "requestPolicy": {}}}}), [
        'spec.devices[0].capacity[/a]: Invalid value: "": the domain must not be empty',
        "spec.devices[0].capacity[/a].requestPolicy: Forbidden: allowMultipleAllocations must be true"]),
    (slice_({"name": "d", "taints": [{"key": "a"}]}), ["spec.devices[0].taints[0].effect: Required value"]),
    (slice_({"name": "d"}, nodeName=None, perDeviceNodeSelection=True), [
        "spec.devices[0]: Required value: "
        f"exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required {WHEN}"]),
    (slice_({"name": "d", "nodeName": "n"}), [
        "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set "
        "if `perDeviceNodeSelection` is set to true in the ResourceSlice spec"]),
    (slice_({"name": "d", "bindingConditions": ["a"]}), [
        "spec.devices[0].bindingFailureConditions: Invalid value: null: "
        "bindingFailureConditions are required to use bindingConditions"]),
]  # fmt: skip


@pytest.mark.parametrize(("obj", "expected"), SLICES)
def test_slices(problems: Any, obj: Json, expected: list[str]) -> None:
    assert problems(RESOURCE_SLICES, obj) == expected


def test_a_slice_stays_with_its_driver(update_problems: Any) -> None:
    found = update_problems(RESOURCE_SLICES, slice_(), lambda new: new["spec"].update(driver="y.io", nodeName="m"))
    assert found == [
        'spec.driver: Invalid value: "y.io": field is immutable',
        'spec.nodeName: Invalid value: "m": field is immutable',
    ]


def test_classes_and_taints(problems: Any) -> None:
    assert problems(DEVICE_CLASSES, {"spec": {"extendedResourceName": "cpu", "config": [{}]}}) == [
        "spec.config[0].opaque: Required value",
        'spec.extendedResourceName: Invalid value: "cpu": must be a valid extended resource name',
    ]
    assert problems(DEVICE_TAINT_RULES, {"spec": {"deviceSelector": {"pool": ""}, "taint": {"key": "a"}}}) == [
        "spec.deviceSelector.pool: Required value",
        "spec.taint.effect: Required value",
    ]
