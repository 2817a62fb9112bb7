"""Validation of a ResourceClaim: what it asks for. Source: upstream's `validateDeviceClaim`."""

from __future__ import annotations

from collections.abc import Container

from tiphys.api import names
from tiphys.api.errors import invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows
from tiphys.kinds.resource.checks import (
    EFFECTS,
    MAX_SELECTORS,
    check_configuration,
    check_fully_qualified,
    check_list,
    check_selector,
    check_set,
    named,
)

_MOST = 32
_MAX_ALTERNATIVES = 8
_ONE_OF = "exactly one of `exactly` or `firstAvailable` is required"


def check_claim(spec: Json, path: str) -> Errors:
    devices, where = spec.get("devices") or {}, f"{path}.devices"
    known = request_names(devices)

    def constraint(item: Json, path: str) -> Errors:
        yield from check_references(item.get("requests") or [], f"{path}.requests", known)
        yield from _check_attribute(item, path)

    def config(item: Json, path: str) -> Errors:
        yield from check_references(item.get("requests") or [], f"{path}.requests", known)
        yield from check_configuration(item, path)

    yield from check_set(devices.get("requests") or [], _MOST, f"{where}.requests", _check_request, named)
    yield from check_list(devices.get("constraints") or [], _MOST, f"{where}.constraints", constraint)
    yield from check_list(devices.get("config") or [], _MOST, f"{where}.config", config)


def request_names(devices: Json) -> set[str]:
    """What a constraint or an allocation can name: a request, or one of its alternatives as `request/alternative`."""
    known: set[str] = set()
    for request in devices.get("requests") or ():
        known.add(named(request))
        known.update(f"{named(request)}/{named(choice)}" for choice in request.get("firstAvailable") or ())
    return known


def check_references(requests: list[str], path: str, known: Container[str]) -> Errors:
    def reference(name: str, path: str) -> Errors:
        yield from check_reference(name, path, known)

    yield from check_set(requests, _MOST, path, reference, str)


def check_reference(name: str, path: str, known: Container[str]) -> Errors:
    segments = name.split("/")
    if len(segments) <= 2:
        for segment in segments:
            yield from follows(segment, path, names.dns1123_label)
    if name not in known:
        what = "the name of a request in the claim or the name of a request and a subrequest separated by '/'"
        yield invalid(path, name, f"must be {what}")


def _check_attribute(constraint: Json, path: str) -> Errors:
    for field in ("matchAttribute", "distinctAttribute"):
        if constraint.get(field) is not None:
            yield from check_fully_qualified(constraint[field], f"{path}.{field}")
            return
    what = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
    yield required(path, what)


def _check_request(request: Json, path: str) -> Errors:
    yield from follows(named(request), f"{path}.name", names.dns1123_label)
    exactly, first = request.get("exactly"), request.get("firstAvailable") or []
    if exactly is None and not first:
        yield required(path, _ONE_OF)
    elif exactly is not None and first:
        yield invalid(path, None, f"{_ONE_OF}, but multiple fields are set")
    elif exactly is not None:
        yield from _check_choice(exactly, f"{path}.exactly")
    else:
        yield from check_set(first, _MAX_ALTERNATIVES, f"{path}.firstAvailable", _check_alternative, named)


def _check_alternative(choice: Json, path: str) -> Errors:
    yield from follows(named(choice), f"{path}.name", names.dns1123_label)
    yield from _check_choice(choice, path)


def _check_choice(choice: Json, path: str) -> Errors:
    chosen = choice.get("deviceClassName") or ""
    if not chosen:
        yield required(f"{path}.deviceClassName")
    else:
        yield from follows(chosen, f"{path}.deviceClassName", names.dns1123_subdomain)
    yield from check_list(choice.get("selectors") or [], MAX_SELECTORS, f"{path}.selectors", check_selector)
    mode, count = choice.get("allocationMode") or "", choice.get("count") or 0
    if mode == "All" and count:
        yield invalid(f"{path}.count", count, "must not be specified when allocationMode is 'All'")
    elif mode == "ExactCount" and count <= 0:
        yield invalid(f"{path}.count", count, "must be greater than zero")
    elif mode not in ("All", "ExactCount"):
        yield not_supported(f"{path}.allocationMode", mode, ("All", "ExactCount"))
    for index, toleration in enumerate(choice.get("tolerations") or ()):
        yield from _check_toleration(toleration, f"{path}.tolerations[{index}]")


def _check_toleration(toleration: Json, path: str) -> Errors:
    if toleration.get("key"):
        yield from follows(toleration["key"], f"{path}.key", names.label_key)
    operator, value = toleration.get("operator") or "", toleration.get("value") or ""
    if operator == "Exists":
        if value:
            yield invalid(f"{path}.value", value, "must be empty for operator `Exists`")
    elif operator == "Equal":
        yield from follows(value, f"{path}.value", names.label_value)
    elif not operator:
        yield required(f"{path}.operator")
    else:
        yield not_supported(f"{path}.operator", operator, ("Equal", "Exists"))
    effect = toleration.get("effect")
    if effect and effect not in EFFECTS:
        yield not_supported(f"{path}.effect", effect, EFFECTS)
