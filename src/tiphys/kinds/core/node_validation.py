"""Validation of a Node, and what upstream warns of in one. Source: upstream's `ValidateNode`, `ValidateNodeUpdate`."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import duplicate, forbidden, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.addresses import address_warnings, dual_stack, range_warnings
from tiphys.kinds.checks import Errors, follows
from tiphys.kinds.core.placement_validation import EFFECTS
from tiphys.kinds.core.resource_validation import check_amount
from tiphys.kinds.fields import dig

_ONE_EACH = "may specify no more than one CIDR for each IP family"
_ONCE = 'except from "" to valid'


def check_spec(spec: Json, before: Json, *, created: bool) -> Errors:
    if not created:
        yield from _check_update(spec, before)
    if spec.get("taints"):
        # The path is upstream's.
        yield from check_taints(spec["taints"], "metadata.taints")
    if created:
        yield from _check_ranges(spec.get("podCIDRs") or [])


def _check_update(spec: Json, before: Json) -> Errors:
    had, has = before.get("podCIDRs") or [], spec.get("podCIDRs") or []
    changed = len(had) != len(has) or sum(old != new for old, new in zip(had, has, strict=True))
    for _ in range(int(changed) if had else 0):
        yield forbidden("spec.podCIDRs", f"node updates may not change podCIDR {_ONCE}")
    if before.get("providerID") and before["providerID"] != spec.get("providerID"):
        yield forbidden("spec.providerID", f"node updates may not change providerID {_ONCE}")
    if spec.get("externalID") != before.get("externalID"):
        yield forbidden("spec.externalID", "may not be updated")


def _check_ranges(ranges: list[str]) -> Errors:
    for index, value in enumerate(ranges):
        yield from follows(value, f"spec.podCIDRs[{index}]", names.cidr)
    if len(ranges) > 1:
        if len(ranges) > 2 or not dual_stack(ranges):
            yield invalid("spec.podCIDRs", ranges, _ONE_EACH)
        for index, value in enumerate(ranges):
            if value in ranges[:index]:
                yield duplicate(f"spec.podCIDRs[{index}]", value)


def check_taints(taints: list[Json], path: str) -> Errors:
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        where, effect = f"{path}[{index}]", taint.get("effect") or ""
        yield from follows(taint.get("key") or "", f"{where}.key", names.label_key)
        problems = names.label_value(taint.get("value") or "")
        if problems:
            yield invalid(f"{where}.value", taint["value"], ";".join(problems))
        if not effect:
            yield required(f"{where}.effect")
        elif effect not in EFFECTS:
            yield not_supported(f"{where}.effect", effect, EFFECTS)
        pair = (taint.get("key") or "", effect)
        if pair in seen:
            yield duplicate(where, taint, "taints must be unique by key and effect pair")
        seen.add(pair)


def check_status(status: Json) -> Errors:
    for field in ("capacity", "allocatable"):
        for name, amount in (status.get(field) or {}).items():
            yield from check_amount(name, amount, f"status.{field}.{name}")
    addresses = status.get("addresses") or []
    for index, address in enumerate(addresses):
        if address in addresses[:index]:
            yield duplicate(f"status.addresses[{index}]", address)


def node_warnings(new: Json, old: Json | None) -> Iterator[str]:
    """Only of what a write brings that was not there."""
    if old is None or new.get("spec") != old.get("spec"):
        spec = new.get("spec") or {}
        if spec.get("configSource") is not None:
            yield "spec.configSource: the feature is removed since 1.24; any specified value will be ignored"
        if spec.get("externalID"):
            yield "spec.externalID: this field is deprecated, and is unused by Kubernetes"
        for index, value in enumerate(spec.get("podCIDRs") or ()):
            yield from range_warnings(value, f"spec.podCIDRs[{index}]")
    if old is not None and dig(new, "status", "addresses") != dig(old, "status", "addresses"):
        for index, address in enumerate(dig(new, "status", "addresses") or ()):
            if address.get("type") in ("InternalIP", "ExternalIP"):
                yield from address_warnings(address.get("address") or "", f"status.addresses[{index}].address")
