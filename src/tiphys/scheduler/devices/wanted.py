"""What claims ask for, with the classes looked up: the input of the allocator.

`asks` are in the order of the claim; each request is a list of alternatives, most of them of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tiphys.api.quantity import parse
from tiphys.kinds.resource.deviceclass import DeviceClass
from tiphys.kinds.resource.requests import (
    ALL,
    DeviceConstraint,
    DeviceSubRequest,
    DeviceToleration,
    ExactDeviceRequest,
    ResourceClaimSpec,
)
from tiphys.scheduler.devices.effort import Effort
from tiphys.scheduler.devices.inventory import Device
from tiphys.scheduler.devices.selectors import matches


@dataclass(frozen=True, eq=False, slots=True)
class Ask:
    """One request, or one alternative of it. `selectors` are (whose, number there, expression), the class's first."""

    request: str
    alternative: str
    class_: str
    selectors: tuple[tuple[str, int, str], ...]
    count: int
    all: bool
    admin: bool
    tolerations: tuple[DeviceToleration, ...]
    capacity: Mapping[str, int]

    @property
    def name(self) -> str:
        return f"{self.request}/{self.alternative}" if self.alternative else self.request

    def selects(self, device: Device, effort: Effort) -> bool | str:
        """Whether it is one of the devices asked for; text is an error of a selector."""
        for whose, number, expression in self.selectors:
            found = matches(expression, device, effort)
            if isinstance(found, str):
                return f"{whose}: selector #{number} on device {'/'.join(device.id)}: {found}"
            if not found:
                return False
        return self._tolerates(device) and self._has_capacity(device)

    def _tolerates(self, device: Device) -> bool:
        return all(
            taint.effect not in ("NoSchedule", "NoExecute")
            or any(each.tolerates(taint.key, taint.value, taint.effect) for each in self.tolerations)
            for taint in device.taints
        )

    def _has_capacity(self, device: Device) -> bool:
        for name, value in self.capacity.items():
            there = device.capacity(name)
            if there is None or there < value:
                return False
        return True


@dataclass(frozen=True, eq=False, slots=True)
class Wanted:
    """A claim's requests and constraints."""

    requests: tuple[tuple[Ask, ...], ...]
    constraints: tuple[DeviceConstraint, ...]


def wanted(spec: ResourceClaimSpec, classes: Mapping[str, DeviceClass]) -> Wanted:
    """Every class that is named must be in `classes`."""
    requests = []
    for request in spec.devices.requests:
        choices = [request.exactly] if request.exactly is not None else request.first_available
        requests.append(tuple(_ask(request.name, choice, classes) for choice in choices))
    return Wanted(tuple(requests), tuple(spec.devices.constraints))


def class_names(spec: ResourceClaimSpec) -> list[tuple[str, str]]:
    """(request or request/alternative, class) for each that the claim names."""
    found = []
    for request in spec.devices.requests:
        if request.exactly is not None:
            found.append((request.name, request.exactly.device_class_name))
        found += [(f"{request.name}/{each.name}", each.device_class_name) for each in request.first_available]
    return found


def _ask(request: str, choice: ExactDeviceRequest | DeviceSubRequest, classes: Mapping[str, DeviceClass]) -> Ask:
    alternative, admin = "", False
    if isinstance(choice, DeviceSubRequest):
        alternative = choice.name
    else:
        admin = choice.admin_access
    name = choice.device_class_name
    selectors = [(f"class {name}", n, each.cel.expression) for n, each in enumerate(classes[name].spec.selectors)]
    own = f"request {request}/{alternative}" if alternative else f"request {request}"
    selectors += [(own, n, each.cel.expression) for n, each in enumerate(choice.selectors)]
    requested = choice.capacity.requests if choice.capacity is not None else {}
    return Ask(
        request, alternative, name, tuple(selectors), choice.count, choice.allocation_mode == ALL, admin,
        tuple(choice.tolerations), {name: parse(value).nanos for name, value in requested.items()},
    )  # fmt: skip
