"""Whatever is asked for: an allocation breaks no rule, and where there is none, no way to choose devices is one.

The rules are written out choice by choice, as the documentation tells them; every way to choose is tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tiphys.kinds.resource.deviceclass import DeviceClass
from tiphys.kinds.resource.requests import ResourceClaimSpec
from tiphys.kinds.resource.resourceslice import ResourceSlice
from tiphys.scheduler.devices.allocator import allocate
from tiphys.scheduler.devices.effort import Effort
from tiphys.scheduler.devices.inventory import Inventory
from tiphys.scheduler.devices.usage import Usage
from tiphys.scheduler.devices.wanted import wanted

DRIVER = "d.example.com"
CLASSES = {"any": msgspec.convert({"metadata": {"name": "any"}}, DeviceClass)}
UNITS = 4
Json = dict[str, Any]
# (claim, request, device) of each device that is given.
Chosen = list[tuple[int, str, int]]


@st.composite
def devices(draw: st.DrawFn) -> list[Json]:
    made = []
    for number in range(draw(st.integers(1, 5))):
        attributes = {"model": {"string": draw(st.sampled_from("ab"))}}
        if draw(st.booleans()):
            attributes["numa"] = {"int": draw(st.integers(0, 1))}  # type: ignore[dict-item]
        units = draw(st.sampled_from([0, 1, 2]))
        counters = [{"counterSet": "set", "counters": {"units": {"value": str(units)}}}] if units else []
        made.append({"name": f"dev{number}", "attributes": attributes, "consumesCounters": counters})
    return made


@st.composite
def claims(draw: st.DrawFn) -> list[Json]:
    made = []
    for _ in range(draw(st.integers(1, 2))):
        requests = [
            {"name": f"r{number}", "exactly": {
                "deviceClassName": "any", "selectors": draw(st.sampled_from([[], [_model("a")], [_model("b")]])),
                **draw(st.sampled_from([
                    {"count": 1}, {"count": 2}, {"allocationMode": "All"}, {"count": 1, "adminAccess": True},
                ])),
            }}
            for number in range(draw(st.integers(1, 2)))
        ]  # fmt: skip
        kind = draw(st.sampled_from([None, "matchAttribute", "distinctAttribute"]))
        over = draw(st.sampled_from([[], ["r0"]]))
        constraints = [{"requests": over, kind: f"{DRIVER}/numa"}] if kind else []
        made.append({"devices": {"requests": requests, "constraints": constraints}})
    return made


def _model(name: str) -> Json:
    return {"cel": {"expression": f"device.attributes['{DRIVER}'].model == '{name}'"}}


@settings(deadline=None, max_examples=300)
@given(devices=devices(), claims=claims(), used=st.sets(st.integers(0, 4), max_size=2))
def test_an_allocation_is_right_and_is_found_if_there_is_one(
    devices: list[Json], claims: list[Json], used: set[int]
) -> None:  # fmt: skip
    inventory, usage = Inventory(), Usage()
    pool = {"name": "p", "generation": 1, "resourceSliceCount": 2}
    counters = [{"name": "set", "counters": {"units": {"value": str(UNITS)}}}]
    for name, more in (("s", {"devices": devices}), ("c", {"sharedCounters": counters})):
        spec = {"driver": DRIVER, "pool": pool, "nodeName": "n", **more}
        inventory.set_slice(None, msgspec.convert({"metadata": {"name": name}, "spec": spec}, ResourceSlice))
    used = {number for number in used if number < len(devices)}
    for number in used:
        usage.count((DRIVER, "p", f"dev{number}"), None, 1)
    asked = [wanted(msgspec.convert(claim, ResourceClaimSpec), CLASSES) for claim in claims]
    found = allocate(asked, inventory.local("n"), usage, Effort())
    ways = (way for way in _ways(claims, devices) if _right(way, claims, devices, used))
    if found is None:
        assert next(ways, None) is None
        return
    chosen = [
        (number, grant.ask.name, int(grant.device.spec.name[3:]))
        for number, grants in enumerate(found) for grant in grants
    ]  # fmt: skip
    assert _right(chosen, claims, devices, used)


def _ways(claims: Sequence[Json], devices: Sequence[Json]) -> Iterator[Chosen]:
    """Every way to give each request as many devices as it asks for, right or not."""
    requests = [(n, request) for n, claim in enumerate(claims) for request in claim["devices"]["requests"]]

    def choose(at: int) -> Iterator[Chosen]:
        if at == len(requests):
            yield []
            return
        claim, request = requests[at]
        for some in combinations(range(len(devices)), _count(request, devices)):
            for rest in choose(at + 1):
                yield [*((claim, request["name"], device) for device in some), *rest]

    yield from choose(0)


def _selected(request: Json, devices: Sequence[Json]) -> list[int]:
    def does(device: Json) -> bool:
        model = device["attributes"]["model"]["string"]
        return all(f"'{model}'" in each["cel"]["expression"] for each in request["exactly"]["selectors"])

    return [number for number, device in enumerate(devices) if does(device)]


def _count(request: Json, devices: Sequence[Json]) -> int:
    every = request["exactly"].get("allocationMode") == "All"
    return max(len(_selected(request, devices)), 1) if every else int(request["exactly"]["count"])


def _right(chosen: Chosen, claims: Sequence[Json], devices: Sequence[Json], used: set[int]) -> bool:
    requests = {(n, r["name"]): r for n, claim in enumerate(claims) for r in claim["devices"]["requests"]}
    for key, request in requests.items():
        mine = [device for claim, name, device in chosen if (claim, name) == key]
        if len(mine) != _count(request, devices) or not set(mine) <= set(_selected(request, devices)):
            return False
    admin = {key for key, request in requests.items() if request["exactly"].get("adminAccess")}
    exclusive = [device for claim, name, device in chosen if (claim, name) not in admin]
    if set(exclusive) & used:
        return False
    for at, (claim, name, device) in enumerate(chosen):
        # Admin access is to what others have, but not twice in one claim.
        before = [one for of, _, one in chosen[:at] if (claim, name) not in admin or of == claim]
        if device in before:
            return False
    drawn = [each for device in {*exclusive, *used} for each in devices[device]["consumesCounters"]]
    if sum(int(each["counters"]["units"]["value"]) for each in drawn) > UNITS and any(
        devices[device]["consumesCounters"] for device in exclusive
    ):
        return False
    return all(_constrained(n, claim, chosen, devices) for n, claim in enumerate(claims))


def _constrained(number: int, claim: Json, chosen: Chosen, devices: Sequence[Json]) -> bool:
    for constraint in claim["devices"]["constraints"]:
        over = constraint["requests"] or [request["name"] for request in claim["devices"]["requests"]]
        mine = [device for at, name, device in chosen if at == number and name in over]
        values = [devices[device]["attributes"].get("numa", {}).get("int") for device in mine]
        if None in values:
            return False
        if "matchAttribute" in constraint and len(set(values)) > 1:
            return False
        if "distinctAttribute" in constraint and len(set(values)) < len(values):
            return False
    return True
