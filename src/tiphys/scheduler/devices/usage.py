"""Which devices are in use, by one alone or by several that share them."""

from __future__ import annotations

from collections.abc import Mapping

from tiphys.scheduler.devices.capacity import Amounts
from tiphys.scheduler.devices.inventory import DeviceId


class Usage:
    """What is in use, and how much of what is shared."""

    def __init__(self) -> None:
        self._exclusive: dict[DeviceId, int] = {}
        self._sharers: dict[DeviceId, int] = {}
        self._amounts: dict[DeviceId, Amounts] = {}

    def count(self, device: DeviceId, amounts: Mapping[str, int] | None, sign: int) -> None:
        """`amounts` are what one of those takes that share it, None if it is for one alone."""
        holders = self._exclusive if amounts is None else self._sharers
        holders[device] = holders.get(device, 0) + sign
        if not holders[device]:
            del holders[device]
        if amounts:
            here = self._amounts.setdefault(device, {})
            for name, amount in amounts.items():
                here[name] = here.get(name, 0) + sign * amount
            if device not in self._sharers:
                del self._amounts[device]

    def __contains__(self, device: DeviceId) -> bool:
        return device in self._exclusive or device in self._sharers

    def exclusive(self, device: DeviceId) -> bool:
        return device in self._exclusive

    def amounts(self, device: DeviceId) -> Mapping[str, int]:
        return self._amounts.get(device, {})
