"""Satisfying claims with the devices that a node sees: a search, and nothing but a search.

The first solution counts, in the order of pools, slices and devices. All orders would be tried, but what is as good as
something that failed is passed over: devices that are alike in all that the claims ask of them. A search that takes too
many steps all the same gives up. No device is given twice, nor one that is in use, unless for admin access or where it
can be shared and has capacity left.
Source: https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from tiphys.kinds.resource.requests import DeviceConstraint
from tiphys.scheduler.devices.capacity import Amounts, taken
from tiphys.scheduler.devices.effort import STEPS, Effort
from tiphys.scheduler.devices.inventory import Counters, Device, Part, Pool
from tiphys.scheduler.devices.usage import Usage
from tiphys.scheduler.devices.wanted import Ask, Wanted

# Of one claim.
MOST_RESULTS = 32


@dataclass(frozen=True, slots=True)
class Grant:
    """A device for a request; `amounts` is what it takes of one that is shared, None of others."""

    ask: Ask
    device: Device
    amounts: Amounts | None = None


class Refused(Exception):
    """The devices here do not do, for a reason worth telling."""


def allocate(
    claims: Sequence[Wanted], parts: Sequence[Part], used: Usage, effort: Effort
) -> list[list[Grant]] | None:  # fmt: skip
    """The devices of each claim, in the claims' order; None if there is no way. Raises Refused.

    What it takes is added to `effort`.
    """
    search = _Search(claims, parts, used, effort)
    if search.request(0, 0):
        return search.grants
    search.explain()
    return None


class _Constraint:
    """`matchAttribute`: all values are one; `distinctAttribute`: no two are. A stack, as the search is."""

    def __init__(self, spec: DeviceConstraint) -> None:
        self._requests = frozenset(spec.requests)
        self._distinct = spec.match_attribute is None
        self._attribute = spec.match_attribute or spec.distinct_attribute or ""
        self._values: list[tuple[str, Any]] = []

    def concerns(self, ask: Ask) -> bool:
        return not self._requests or ask.request in self._requests or ask.name in self._requests

    def value(self, device: Device) -> tuple[str, Any] | None:
        return device.attribute(self._attribute)

    def push(self, device: Device) -> bool:
        """Whether the device may come to those that are there; it is counted if so."""
        found = self.value(device)
        if found is None:
            return False
        if found in self._values if self._distinct else self._values and self._values[-1] != found:
            return False
        self._values.append(found)
        return True

    def pop(self) -> None:
        self._values.pop()


class _Search:
    def __init__(self, claims: Sequence[Wanted], parts: Sequence[Part], used: Usage, effort: Effort) -> None:
        self._claims, self._parts, self._used, self._effort = claims, parts, used, effort
        self.grants: list[list[Grant]] = [[] for _ in claims]
        self._constraints = [[_Constraint(each) for each in claim.constraints] for claim in claims]
        self._pools = {device: part.pool for part in parts for device in part.devices}
        self._portions: dict[Device, list[Amounts]] = {}
        self._counters: dict[Pool, Counters] = {}
        self._candidates: dict[Ask, list[Device]] = {}
        self._alike: dict[Device, Hashable] = {}
        self._error, self._steps = "", 0

    def explain(self) -> None:
        """Nothing was found: raises Refused if there is something to say of that."""
        if self._error:
            raise Refused(self._error)
        wrong = sorted(str(part.pool) for part in self._parts if part.pool.wrong == "invalid")
        if wrong:
            raise Refused("invalid resource pools were encountered")

    def request(self, claim: int, number: int) -> bool:
        """Satisfy this request of this claim and all that come after it."""
        if claim == len(self._claims):
            return True
        requests = self._claims[claim].requests
        if number == len(requests):
            return self.request(claim + 1, 0)
        return any(
            self._all(claim, number, ask) if ask.all else self._some(claim, number, ask, 0, ask.count)
            for ask in requests[number]
        )

    def _some(self, claim: int, number: int, ask: Ask, start: int, left: int) -> bool:
        """So many more devices of the candidates from `start` on, then the next request."""
        if not left:
            return self.request(claim, number + 1)
        if len(self.grants[claim]) + left > MOST_RESULTS:
            return False
        candidates, failed = self._candidates_of(ask), set[Hashable]()
        for at in range(start, len(candidates)):
            device = candidates[at]
            kind = self._kind(device)
            if kind in failed or not self._take(claim, ask, device):
                continue
            if self._some(claim, number, ask, at if device.shared else at + 1, left - 1):
                return True
            self._give_back(claim)
            failed.add(kind)
        return False

    def _all(self, claim: int, number: int, ask: Ask) -> bool:
        devices = self._candidates_of(ask)
        if not devices or len(self.grants[claim]) + len(devices) > MOST_RESULTS:
            return False
        count = 0
        for device in devices:
            if not self._take(claim, ask, device):
                break
            count += 1
        if count == len(devices) and self.request(claim, number + 1):
            return True
        for _ in range(count):
            self._give_back(claim)
        return False

    def _candidates_of(self, ask: Ask) -> list[Device]:
        if ask not in self._candidates:
            found = [] if ask.all and self._incomplete(ask) else [
                device for part in self._parts if not part.pool.wrong for device in part.devices
                if self._selects(ask, device)
            ]  # fmt: skip
            # What is ready as it is comes before what has to be made ready first.
            self._candidates[ask] = sorted(found, key=lambda device: bool(device.spec.binding_conditions))
        return self._candidates[ask]

    def _incomplete(self, ask: Ask) -> bool:
        """Nobody knows yet what all devices are."""
        for part in self._parts:
            if part.pool.wrong:
                what = f"is currently {part.pool.wrong}"
                self._error = f"request {ask.name}: asks for all devices, but resource pool {part.pool} {what}"
                return True
        return False

    def _selects(self, ask: Ask, device: Device) -> bool:
        found = ask.selects(device, self._effort)
        if isinstance(found, str):
            self._error = self._error or found
            return False
        return found

    def _kind(self, device: Device) -> Hashable:
        """Devices of one kind can stand for each other."""
        known = self._alike.get(device)
        if known is None:
            if device.shared:
                known = device.id
            else:
                asked = (ask for claim in self._claims for asks in claim.requests for ask in asks)
                matching = tuple(ask.selects(device, self._effort) is True for ask in asked)
                values = tuple(each.value(device) for claim in self._constraints for each in claim)
                drawn = (self._pools[device].id, *sorted(device.counters.items())) if device.counters else ()
                known = (matching, values, drawn, bool(device.spec.binding_conditions))
            self._alike[device] = known
        return known

    def _take(self, claim: int, ask: Ask, device: Device) -> bool:
        """Give the device to the request if it is free and nothing else is against it."""
        self._steps += 1
        self._effort.steps += 1
        if self._steps > STEPS:
            self._error = f"no allocation was found in {STEPS} steps"
            return False
        if not self._free(claim, ask, device):
            return False
        shared = device.shared and not ask.admin
        amounts = self._portion(ask, device) if shared else None
        if (shared and amounts is None) or not self._constrain(claim, ask, device):
            return False
        if not ask.admin:
            if amounts is not None:
                self._portions.setdefault(device, []).append(amounts)
            self._draw(device, -1)
        self.grants[claim].append(Grant(ask, device, amounts))
        return True

    def _give_back(self, claim: int) -> None:
        grant = self.grants[claim].pop()
        for constraint in self._constraints[claim]:
            if constraint.concerns(grant.ask):
                constraint.pop()
        if not grant.ask.admin:
            if grant.device.shared:
                self._portions[grant.device].pop()
            self._draw(grant.device, 1)

    def _free(self, claim: int, ask: Ask, device: Device) -> bool:
        if ask.admin:
            return all(grant.device is not device for grant in self.grants[claim])
        if device.shared:
            return not self._used.exclusive(device.id)
        given = any(grant.device is device for grants in self.grants for grant in grants)
        return not given and device.id not in self._used and self._has_counters(device)

    def _portion(self, ask: Ask, device: Device) -> Amounts | None:
        """What the request takes of a shared device; None if that is not left."""
        amounts = taken(device, ask.capacity)
        if amounts is None:
            return None
        others = [self._used.amounts(device.id), *self._portions.get(device, ())]
        for name, amount in amounts.items():
            if amount + sum(each.get(name, 0) for each in others) > (device.capacity(name) or 0):
                return None
        return amounts if self._has_counters(device) else None

    def _constrain(self, claim: int, ask: Ask, device: Device) -> bool:
        done: list[_Constraint] = []
        for constraint in self._constraints[claim]:
            if not constraint.concerns(ask):
                continue
            if not constraint.push(device):
                for each in done:
                    each.pop()
                return False
            done.append(constraint)
        return True

    def _has_counters(self, device: Device) -> bool:
        if not device.counters or self._drawn_already(device):
            return True
        left = self._counters_of(self._pools[device])
        return all(left.get(name, 0) >= amount for name, amount in device.counters.items())

    def _draw(self, device: Device, sign: int) -> None:
        """Take of the pool's counters, or give back; a shared device draws once, however many have some of it."""
        if not device.counters:
            return
        if device.shared and (device.id in self._used or len(self._portions[device]) != (sign < 0)):
            return
        left = self._counters_of(self._pools[device])
        for name, amount in device.counters.items():
            left[name] = left.get(name, 0) + sign * amount

    def _drawn_already(self, device: Device) -> bool:
        return device.shared and (bool(self._portions.get(device)) or device.id in self._used)

    def _counters_of(self, pool: Pool) -> Counters:
        """What the devices in use leave of a pool's counters."""
        if pool not in self._counters:
            left = self._counters[pool] = dict(pool.counters)
            for device in pool.devices:
                if device.counters and device.id in self._used:
                    for name, amount in device.counters.items():
                        left[name] = left.get(name, 0) - amount
        return self._counters[pool]
