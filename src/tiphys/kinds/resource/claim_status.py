"""Validation of a ResourceClaim's status: what it got, and for whom.

Source: upstream's `validateResourceClaimStatusUpdate`.
"""

from __future__ import annotations

from collections.abc import Container

from tiphys.api import names
from tiphys.api.errors import duplicate, forbidden, invalid, not_supported, required, too_long, too_many
from tiphys.api.resource import Json
from tiphys.kinds.checks import IMMUTABLE, Errors, follows
from tiphys.kinds.conditions import check_conditions
from tiphys.kinds.core.placement_validation import check_node_selector
from tiphys.kinds.core.volume_sources import check_driver_name
from tiphys.kinds.fields import dig
from tiphys.kinds.resource.checks import (
    check_binding,
    check_configuration,
    check_list,
    check_object,
    check_pool_name,
    check_set,
    check_share,
)
from tiphys.kinds.resource.claim_validation import check_reference, check_references

_MAX_RESERVED, _MOST, _MAX_CONDITIONS = 256, 32, 8
_Device = tuple[str, str, str, str]


def check_status(status: Json, before: Json, known: Container[str], *, deleted: bool) -> Errors:
    """`known`: the names of the claim's requests."""
    reserved, allocation = status.get("reservedFor") or [], status.get("allocation")
    yield from check_set(reserved, _MAX_RESERVED, "status.reservedFor", _check_user, lambda user: user.get("uid"))
    yield from _check_devices(status.get("devices") or [], dig(allocation or {}, "devices", "results") or [])
    if reserved and allocation is None:
        yield forbidden("status.reservedFor", "may not be specified when `allocated` is not set")
    elif reserved and deleted and any(user not in (before.get("reservedFor") or ()) for user in reserved):
        rule = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
        yield forbidden("status.reservedFor", rule)
    if allocation is None:
        return
    if before.get("allocation") is None:
        yield from _check_allocation(allocation, "status.allocation", known)
    elif before["allocation"] != allocation:
        yield invalid("status.allocation", allocation, IMMUTABLE)


def _check_user(user: Json, path: str) -> Errors:
    for field in ("resource", "name", "uid"):
        if not user.get(field):
            yield required(f"{path}.{field}")


def _device(result: Json) -> _Device:
    return result.get("driver") or "", result.get("pool") or "", result.get("device") or "", result.get("shareID") or ""


def _check_devices(devices: list[Json], results: list[Json]) -> Errors:
    allocated, seen = {_device(result) for result in results}, set[_Device]()
    for index, device in enumerate(devices):
        path, name = f"status.devices[{index}]", _device(device)
        shown = "/".join(part for part in name if part)
        yield from _check_device(device, path)
        if name not in allocated:
            yield invalid(path, shown, "must be an allocated device in the claim")
        if name in seen:
            yield duplicate(path, shown)
        seen.add(name)
        conditions = device.get("conditions") or []
        if len(conditions) > _MAX_CONDITIONS:
            yield too_many(f"{path}.conditions", len(conditions), _MAX_CONDITIONS)
        yield from check_conditions(conditions, f"{path}.conditions")
        if device.get("data"):
            yield from check_object(device["data"], f"{path}.data")
        yield from _check_network(device.get("networkData") or {}, f"{path}.networkData")


def _check_network(data: Json, path: str) -> Errors:
    for field, most in (("interfaceName", 256), ("hardwareAddress", 128)):
        if len((data.get(field) or "").encode()) > most:
            yield too_long(f"{path}.{field}", most)
    if len(data.get("ips") or ()) > 16:
        yield too_many(f"{path}.ips", len(data["ips"]), 16)


def _check_device(result: Json, path: str) -> Errors:
    yield from check_driver_name(result.get("driver") or "", f"{path}.driver")
    yield from check_pool_name(result.get("pool") or "", f"{path}.pool")
    yield from follows(result.get("device") or "", f"{path}.device", names.dns1123_label)
    if result.get("shareID") is not None:
        yield from check_share(result["shareID"], f"{path}.shareID")


def _check_allocation(allocation: Json, path: str, known: Container[str]) -> Errors:
    def result(item: Json, path: str) -> Errors:
        yield from check_reference(item.get("request") or "", f"{path}.request", known)
        yield from _check_device(item, path)
        yield from check_binding(item.get("bindingConditions") or [], item.get("bindingFailureConditions") or [], path)

    def config(item: Json, path: str) -> Errors:
        source = item.get("source") or ""
        if not source:
            yield required(f"{path}.source")
        elif source not in ("FromClaim", "FromClass"):
            yield not_supported(f"{path}.source", source, ("FromClaim", "FromClass"))
        yield from check_references(item.get("requests") or [], f"{path}.requests", known)
        yield from check_configuration(item, path)

    devices = allocation.get("devices") or {}
    yield from check_list(devices.get("results") or [], _MOST, f"{path}.devices.results", result)
    yield from check_list(devices.get("config") or [], 2 * _MOST, f"{path}.devices.config", config)
    if allocation.get("nodeSelector") is not None:
        yield from check_node_selector(allocation["nodeSelector"], f"{path}.nodeSelector")
