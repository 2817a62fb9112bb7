"""What a request takes of the capacity of a device that several may share.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#consumable-capacity
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiphys.api.quantity import parse
from tiphys.scheduler.devices.inventory import Device

# By the device's own name of each capacity, in nano-units.
Amounts = dict[str, int]


def taken(device: Device, requested: Mapping[str, int]) -> Amounts | None:
    """What a request for these capacities takes; None if the device's policies forbid such a request."""
    found: Amounts = {}
    for name, capacity in device.spec.capacity.items():
        whole, policy = parse(capacity.value).nanos, capacity.request_policy or {}
        amount = requested.get(name, requested.get(f"{device.driver}/{name}"))
        if amount is None:
            default = policy.get("default")
            found[name] = parse(default).nanos if default is not None else whole
            continue
        rounded = _rounded(amount, policy)
        if rounded is None or rounded > whole:
            return None
        found[name] = rounded
    return found


def _rounded(amount: int, policy: Mapping[str, Any]) -> int | None:
    """Up to what the policy allows; None if there is no such value."""
    values, range_ = policy.get("validValues"), policy.get("validRange")
    if values:
        return min((value for value in (parse(each).nanos for each in values) if value >= amount), default=None)
    if range_:
        least = parse(range_["min"]).nanos if range_.get("min") is not None else 0
        amount = max(amount, least)
        step = parse(range_["step"]).nanos if range_.get("step") is not None else 0
        if step:
            amount = least + -(-(amount - least) // step) * step
        if range_.get("max") is not None and amount > parse(range_["max"]).nanos:
            return None
    return amount
