"""Validation of a ResourceSlice's spec: a driver's devices. Source: upstream's `validateResourceSliceSpec`."""

from __future__ import annotations

import re

from tiphys.api import names
from tiphys.api.errors import forbidden, invalid, required, too_long, too_many
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows
from tiphys.kinds.core.placement_validation import check_node_selector
from tiphys.kinds.core.volume_sources import check_driver_name
from tiphys.kinds.resource.checks import (
    check_binding,
    check_list,
    check_pool_name,
    check_qualified,
    check_set,
    check_taint,
    named,
)

_MAX_DEVICES, _MAX_RICH_DEVICES, _MAX_SETS, _MAX_ATTRIBUTES = 128, 64, 8, 32
_MAX_COUNTERS, _MAX_CONSUMPTIONS, _MAX_TAINTS, _MAX_VALUE = 32, 2, 16, 64
_PART = r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)" rf"(-{_PART}(\.{_PART})*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)
_PLACES = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
_UNSET = "must be either unset or set to true"


def check_slice(spec: Json) -> Errors:
    yield from check_driver_name(spec.get("driver") or "", "spec.driver")
    yield from _check_pool(spec.get("pool") or {}, "spec.pool")
    yield from _check_place(spec)
    if spec.get("sharedCounters") is not None and spec.get("devices") is not None:
        yield invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed")
    devices, chosen = spec.get("devices") or [], bool(spec.get("perDeviceNodeSelection"))
    rich = any(device.get("taints") or device.get("consumesCounters") for device in devices)

    def check_device(device: Json, path: str) -> Errors:
        yield from _check_device(device, path, chosen=chosen)

    yield from check_set(devices, _MAX_RICH_DEVICES if rich else _MAX_DEVICES, "spec.devices", check_device, named)
    yield from check_set(spec.get("sharedCounters") or [], _MAX_SETS, "spec.sharedCounters", _check_counters, named)


def _check_pool(pool: Json, path: str) -> Errors:
    count, generation = pool.get("resourceSliceCount") or 0, pool.get("generation") or 0
    yield from check_pool_name(pool.get("name") or "", f"{path}.name")
    if count <= 0:
        yield invalid(f"{path}.resourceSliceCount", count, "must be greater than zero")
    if generation < 0:
        yield invalid(f"{path}.generation", generation, "must be greater than or equal to zero")


def _check_place(spec: Json) -> Errors:
    """Which nodes can reach the devices."""
    node, selector = spec.get("nodeName"), spec.get("nodeSelector")
    if node:
        yield from follows(node, "spec.nodeName", names.dns1123_subdomain)
    elif node is not None:
        yield invalid("spec.nodeName", node, "must be either unset or set to a non-empty string")
    if selector is not None:
        yield from check_node_selector(selector, "spec.nodeSelector")
        terms = selector.get("nodeSelectorTerms") or []
        if len(terms) != 1:
            yield invalid("spec.nodeSelector.nodeSelectorTerms", terms, "must have exactly one node selector term")
    for field in _PLACES[2:]:
        if spec.get(field) is False:
            yield invalid(f"spec.{field}", False, _UNSET)
    rule = f"exactly one of {', '.join(f'`{field}`' for field in _PLACES)} is required"
    yield from _check_one(spec, _PLACES, "spec", rule, f"{rule}, but multiple fields are set")


def _check_one(obj: Json, fields: tuple[str, ...], path: str, none: str, many: str) -> Errors:
    """That one of the fields is set; an empty name and false are not."""
    given = [f"`{field}`" for field in fields if obj.get(field) or (field == "nodeSelector" and obj.get(field) == {})]
    if not given:
        yield required(path, none)
    elif len(given) > 1:
        yield invalid(path, f"{{{', '.join(given)}}}", many)


def _check_counters(counters: Json, path: str, field: str = "name") -> Errors:
    name, found = counters.get(field) or "", counters.get("counters") or {}
    if not name:
        yield required(f"{path}.{field}")
    else:
        yield from follows(name, f"{path}.{field}", names.dns1123_label)
    if not found:
        yield required(f"{path}.counters")
    elif len(found) > _MAX_COUNTERS:
        yield too_many(f"{path}.counters", len(found), _MAX_COUNTERS)
    else:
        for counter in found:
            yield from follows(counter, f"{path}.counters[{counter}]", names.dns1123_label)


def _check_consumption(consumption: Json, path: str) -> Errors:
    yield from _check_counters(consumption, path, "counterSet")


def _check_device(device: Json, path: str, *, chosen: bool) -> Errors:
    """`chosen`: whether each device says which nodes reach it."""
    yield from follows(named(device), f"{path}.name", names.dns1123_label)
    attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
    count = len(attributes) + len(capacity)
    if count > _MAX_ATTRIBUTES:
        rule = f"the total number of attributes and capacities must not exceed {_MAX_ATTRIBUTES}"
        yield invalid(path, count, rule)
    for name, attribute in attributes.items():
        yield from check_qualified(name, f"{path}.attributes[{name}]")
        yield from _check_attribute(attribute, f"{path}.attributes[{name}]")
    for name, amount in capacity.items():
        yield from check_qualified(name, f"{path}.capacity[{name}]")
        if amount.get("requestPolicy") is not None and not device.get("allowMultipleAllocations"):
            where = f"{path}.capacity[{name}].requestPolicy"
            yield forbidden(where, "allowMultipleAllocations must be true")
    yield from check_list(device.get("taints") or [], _MAX_TAINTS, f"{path}.taints", check_taint)
    yield from check_set(
        device.get("consumesCounters") or [], _MAX_CONSUMPTIONS, f"{path}.consumesCounters", _check_consumption,
        lambda item: item.get("counterSet") or "",
    )  # fmt: skip
    yield from _check_device_place(device, path, chosen=chosen)
    yield from check_binding(device.get("bindingConditions") or [], device.get("bindingFailureConditions") or [], path)


def _check_device_place(device: Json, path: str, *, chosen: bool) -> Errors:
    fields = _PLACES[:3]
    if not chosen:
        if any(device.get(field) is not None for field in fields):
            rule = "can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
            yield invalid(path, None, f"`nodeName`, `nodeSelector` and `allNodes` {rule}")
        return
    node = device.get("nodeName")
    if node:
        yield from follows(node, f"{path}.nodeName", names.dns1123_subdomain)
    elif node is not None:
        yield invalid(f"{path}.nodeName", node, "must not be empty")
    if device.get("nodeSelector") is not None:
        yield from check_node_selector(device["nodeSelector"], f"{path}.nodeSelector")
    if device.get("allNodes") is False:
        yield invalid(f"{path}.allNodes", False, _UNSET)
    when = "when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
    rule = f"exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required {when}"
    yield from _check_one(device, fields, path, rule, rule)


def _check_attribute(attribute: Json, path: str) -> Errors:
    text, version = attribute.get("string"), attribute.get("version")
    if text is not None and len(text.encode()) > _MAX_VALUE:
        yield too_long(f"{path}.string", _MAX_VALUE)
    if version is not None:
        if _SEMVER.fullmatch(version) is None:
            rule = "must be a string compatible with semver.org spec 2.0.0"
            yield invalid(f"{path}.version", version, rule)
        if len(version.encode()) > _MAX_VALUE:
            yield too_long(f"{path}.version", _MAX_VALUE)
    values = [field for field, value in attribute.items() if value is not None]
    if len(values) != 1:
        yield invalid(path, attribute if values else "", "exactly one value must be specified")
