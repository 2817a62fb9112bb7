"""Which devices a claim gets of those that a node sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from device_objects import DRIVER, choice, class_, device, exactly, slice_, spec
from scheduler_objects import Json

from tiphys.kinds.resource.requests import ResourceClaimSpec
from tiphys.kinds.resource.resourceslice import ResourceSlice
from tiphys.scheduler.devices.allocator import Refused, allocate
from tiphys.scheduler.devices.effort import Effort
from tiphys.scheduler.devices.inventory import Inventory
from tiphys.scheduler.devices.usage import Usage
from tiphys.scheduler.devices.wanted import wanted

LARGE = f"device.capacity['{DRIVER}'].memory.isGreaterThan(quantity('9Gi'))"
CLASSES = {"gpu": class_(), "large": class_("large", LARGE)}
NUMA = f"{DRIVER}/numa"


def got(
    slices: Sequence[ResourceSlice], *claims: ResourceClaimSpec, used: Sequence[str] = (), node: str = "n"
) -> list[list[str]] | None:  # fmt: skip
    """By claim, `request=device` for each; `used` are devices of pool n."""
    inventory, usage = Inventory(), Usage()
    for each in slices:
        inventory.set_slice(None, each)
    for name in used:
        usage.count((DRIVER, "n", name), None, 1)
    parts = [*inventory.local(node), *inventory.elsewhere()]
    found = allocate([wanted(claim, CLASSES) for claim in claims], parts, usage, Effort())
    return found and [[f"{grant.ask.name}={grant.device.spec.name}" for grant in claim] for claim in found]


def gpus(count: int, **more: Any) -> ResourceSlice:
    """Of 8Gi each, the odd ones on another NUMA node and of another model."""
    devices = [
        device(
            f"gpu{number}", capacity={"memory": "8Gi"},
            attributes={"numa": number % 2, "model": "ab"[number % 2], "driver": {"version": f"1.{number}.0"}},
        )
        for number in range(count)
    ]  # fmt: skip
    return slice_("n", devices, **more)


def attribute(name: str) -> str:
    return f"device.attributes['{DRIVER}'].{name}"


def test_the_first_free_devices_are_taken_and_none_twice() -> None:
    assert got([gpus(4)], spec(exactly(count=2))) == [["r=gpu0", "r=gpu1"]]
    assert got([gpus(4)], spec(exactly(count=2)), used=["gpu0", "gpu2"]) == [["r=gpu1", "r=gpu3"]]
    assert got([gpus(3)], spec(exactly("a"), exactly("b")), spec()) == [["a=gpu0", "b=gpu1"], ["r=gpu2"]]
    assert got([gpus(2)], spec(exactly(count=3))) is None
    assert got([gpus(2)], spec(), spec(exactly(count=2))) is None


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (f"{attribute('model')} == 'b'", "gpu1"),
        (f"{attribute('numa')} == 1", "gpu1"),
        (f"device.driver == '{DRIVER}'", "gpu0"),
        (f"{attribute('driver')}.isGreaterThan(semver('1.1.9'))", "gpu2"),
        (f"device.capacity['{DRIVER}'].memory.compareTo(quantity('8Gi')) == 0", "gpu0"),
        ("has(device.attributes['other.example.com'].x) || true", "gpu0"),
        (f"device.attributes['{DRIVER}'].?none.orValue(7) == 7", "gpu0"),
        ("!device.allowMultipleAllocations", "gpu0"),
    ],
)
def test_selectors_see_the_device(expression: str, expected: str) -> None:
    assert got([gpus(4)], spec(exactly("r", expression))) == [[f"r={expected}"]]


def test_the_selectors_of_the_class_and_of_the_request_must_all_hold() -> None:
    assert got([gpus(2)], spec(exactly(deviceClassName="large"))) is None
    devices = [device("small", capacity={"memory": "8Gi"}), device("big", capacity={"memory": "16Gi"})]
    assert got([slice_("n", devices)], spec(exactly(deviceClassName="large"))) == [["r=big"]]


def test_an_expression_that_fails_says_where() -> None:
    words = "request r: selector #0 on device gpu.example.com/n/gpu0: CEL runtime error: no such key"
    with pytest.raises(Refused, match=words):
        got([gpus(1)], spec(exactly("r", f"{attribute('none')} == 1")))


def test_all_devices_are_taken_or_none() -> None:
    every = exactly("r", f"{attribute('model')} == 'b'", allocationMode="All")
    assert got([gpus(4)], spec(every)) == [["r=gpu1", "r=gpu3"]]
    assert got([gpus(4)], spec(every), used=["gpu3"]) is None
    assert got([gpus(1)], spec(every)) is None
    # Those that come before leave them alone if they can.
    assert got([gpus(2)], spec(exactly("any"), every)) == [["any=gpu0", "r=gpu1"]]


def test_the_first_alternative_that_works_is_taken() -> None:
    first = {"name": "r", "firstAvailable": [
        {"name": "two", **choice(f"{attribute('model')} == 'b'", count=2)}, {"name": "one", **choice()},
    ]}  # fmt: skip
    assert got([gpus(4)], spec(first)) == [["r/two=gpu1", "r/two=gpu3"]]
    assert got([gpus(3)], spec(first)) == [["r/one=gpu0"]]


def test_devices_that_must_match_do() -> None:
    match = {"constraints": [{"matchAttribute": NUMA}]}
    assert got([gpus(4)], spec(exactly(count=2), **match)) == [["r=gpu0", "r=gpu2"]]
    assert got([gpus(4)], spec(exactly(count=2), **match), used=["gpu0"]) == [["r=gpu1", "r=gpu3"]]
    assert got([gpus(4)], spec(exactly(count=3), **match)) is None
    only = {"constraints": [{"requests": ["a", "b"], "matchAttribute": NUMA}]}
    assert got([gpus(4)], spec(exactly("a"), exactly("x"), exactly("b"), **only)) == [["a=gpu0", "x=gpu1", "b=gpu2"]]
    missing = {"constraints": [{"matchAttribute": f"{DRIVER}/none"}]}
    assert got([gpus(4)], spec(**missing)) is None


def test_devices_that_must_differ_do() -> None:
    distinct = {"constraints": [{"distinctAttribute": NUMA}]}
    assert got([gpus(4)], spec(exactly(count=2), **distinct)) == [["r=gpu0", "r=gpu1"]]
    assert got([gpus(4)], spec(exactly(count=3), **distinct)) is None


def test_admin_access_takes_devices_in_use_but_none_twice_in_a_claim() -> None:
    admin = exactly(adminAccess=True, count=2)
    assert got([gpus(2)], spec(admin), used=["gpu0", "gpu1"]) == [["r=gpu0", "r=gpu1"]]
    assert got([gpus(1)], spec(admin)) is None


def test_tainted_devices_are_for_those_that_tolerate_them() -> None:
    tainted = slice_("n", [device("bad", taints=[{"key": "broken", "effect": "NoSchedule"}]), device("good")])
    assert got([tainted], spec()) == [["r=good"]]
    tolerant = exactly(tolerations=[{"key": "broken", "operator": "Exists"}])
    assert got([tainted], spec(tolerant)) == [["r=bad"]]
    other = exactly(tolerations=[{"key": "broken", "operator": "Equal", "value": "x"}], count=2)
    assert got([tainted], spec(other)) is None


def test_a_pool_is_of_use_once_its_newest_generation_is_complete() -> None:
    place = {"pool": "n", "nodeName": "n"}
    old, new = gpus(2, pool="n", nodeName="n"), slice_("n2", [device("new")], generation=2, count=2, **place)
    assert got([old, new], spec()) is None
    rest = slice_("n3", [device("rest")], generation=2, count=2, **place)
    assert got([old, new, rest], spec(exactly(count=2))) == [["r=new", "r=rest"]]
    words = "asks for all devices, but resource pool gpu.example.com/n is currently being updated"
    with pytest.raises(Refused, match=words):
        got([old, new], spec(exactly(allocationMode="All")))


def test_a_pool_with_two_devices_of_a_name_is_invalid() -> None:
    twice = [slice_(name, [device("same")], pool="n", nodeName="n", count=2) for name in ("a", "b")]
    with pytest.raises(Refused, match="invalid resource pools were encountered"):
        got(twice, spec())


def counting(**more: Any) -> list[ResourceSlice]:
    """Two halves of 4 units each and a whole of 8, of which there are 8."""
    def draws(amount: str) -> list[Json]:
        return [{"counterSet": "memory", "counters": {"units": {"value": amount}}}]

    devices = [
        device("half0", consumesCounters=draws("4")), device("half1", consumesCounters=draws("4")),
        device("whole", consumesCounters=draws("8")),
    ]  # fmt: skip
    counters = slice_("c", [], pool="n", nodeName="n", count=2,
                      sharedCounters=[{"name": "memory", "counters": {"units": {"value": "8"}}}])  # fmt: skip
    return [counters, slice_("d", devices, pool="n", nodeName="n", count=2)]


def test_partitions_draw_on_the_counters_of_their_pool() -> None:
    assert got(counting(), spec(exactly(count=2))) == [["r=half0", "r=half1"]]
    assert got(counting(), spec(exactly(count=3))) is None
    assert got(counting(), spec(), used=["whole"]) is None
    assert got(counting(), spec(), used=["half0"]) == [["r=half1"]]


def shareable(policy: Json | None = None) -> ResourceSlice:
    capacity = {"bandwidth": {"value": "10", **({"requestPolicy": policy} if policy else {})}}
    return slice_("n", [device("nic", capacity=capacity, allowMultipleAllocations=True)])


@pytest.mark.parametrize(
    ("policy", "asked", "fit"),
    [
        (None, "4", 2), (None, "5", 2), (None, "11", 0), (None, None, 1),
        ({"default": "2", "validRange": {"min": "2"}}, None, 5),
        ({"default": "2", "validRange": {"min": "3"}}, "1", 3),
        ({"default": "2", "validRange": {"min": "2", "step": "2"}}, "3", 2),
        ({"default": "2", "validRange": {"min": "2", "max": "4"}}, "5", 0),
        ({"default": "2", "validValues": ["2", "6"]}, "3", 1),
    ],
)  # fmt: skip
def test_a_shared_device_is_given_until_its_capacity_is_gone(policy: Json | None, asked: str | None, fit: int) -> None:
    more = {"capacity": {"requests": {"bandwidth": asked}}} if asked else {}
    claims = [spec(exactly(**more)) for _ in range(fit)]
    if claims:
        assert got([shareable(policy)], *claims) == [["r=nic"]] * fit
    assert got([shareable(policy)], *claims, spec(exactly(**more))) is None


def test_no_claim_gets_more_devices_than_its_status_can_hold() -> None:
    assert got([gpus(40)], spec(exactly(count=33))) is None
    assert len((got([gpus(40)], spec(exactly(count=32))) or [[]])[0]) == 32


def test_many_devices_that_are_alike_are_not_all_tried() -> None:
    alike = slice_("n", [device(f"d{number}", attributes={"numa": 0}) for number in range(100)])
    several = [exactly(f"r{number}", count=8) for number in range(3)]
    assert got([alike], spec(*several, exactly("none", "false"))) is None


def test_an_expression_that_is_made_to_take_long_is_given_up() -> None:
    many = "[" + ",".join(str(number) for number in range(40)) + "]"
    slow = f"{many}.all(x, {many}.all(y, {many}.all(z, x + y + z < 0 || x + y + z >= 0)))"
    with pytest.raises(Refused, match="the expression costs too much on so many devices"):
        got([gpus(40)], spec(exactly("r", f"{slow} && false")))
    # Others are not the slower for it.
    assert got([gpus(40)], spec()) == [["r=gpu0"]]


def test_a_search_that_takes_too_many_steps_is_given_up() -> None:
    pairs = slice_("n", [device(f"d{number}", attributes={"numa": number // 2}) for number in range(40)])
    distinct = {"constraints": [{"distinctAttribute": NUMA}]}
    assert len((got([pairs], spec(exactly(count=20), **distinct)) or [[]])[0]) == 20
    with pytest.raises(Refused, match="no allocation was found in 20000 steps"):
        got([pairs], spec(exactly(count=21), **distinct))
