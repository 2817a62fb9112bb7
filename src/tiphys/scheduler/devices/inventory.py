"""The devices of a cluster, by pool: what ResourceSlices of drivers say, and which nodes reach what.

A pool's newest generation counts, and only once all its slices are there. The devices of a pool that are reached from
the same nodes are one `Part`: what a node sees is a list of parts.
Source: https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#resource-slices
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from tiphys.api.quantity import parse
from tiphys.kinds.core.affinity import NodeSelector
from tiphys.kinds.resource.resourceslice import DeviceTaint, ResourceSlice, ResourceSliceSpec, SliceDevice

# (driver, pool, device)
DeviceId = tuple[str, str, str]
PoolId = tuple[str, str]
# By counter set and counter, in nano-units.
Counters = dict[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Place:
    """Which nodes reach a device: one, those that a selector matches, or all."""

    node: str = ""
    selector: NodeSelector | None = None
    key: bytes = b""


ANYWHERE = Place()


class Device:
    """`outcomes` keeps which selectors match it: a device does not change, it is replaced."""

    def __init__(self, spec: SliceDevice, driver: str, pool: str, place: Place) -> None:
        self.spec, self.place, self.id = spec, place, (driver, pool, spec.name)
        self.outcomes: dict[str, bool | str] = {}

    @property
    def driver(self) -> str:
        return self.id[0]

    @property
    def shared(self) -> bool:
        """Whether it can be given to several at once, each of whom takes some of its capacity."""
        return self.spec.allow_multiple_allocations

    @property
    def taints(self) -> list[DeviceTaint]:
        return self.spec.taints

    def attribute(self, name: str) -> tuple[str, Any] | None:
        """The type and the value of an attribute by its full name; None if it has none."""
        domain, _, rest = name.partition("/")
        found = self.spec.attributes.get(name)
        if found is None and domain == self.driver:
            found = self.spec.attributes.get(rest)
        return next(((kind, value) for kind, value in (found or {}).items() if value is not None), None)

    def capacity(self, name: str) -> int | None:
        """In nano-units."""
        domain, _, rest = name.partition("/")
        found = self.spec.capacity.get(name)
        if found is None and rest and domain == self.driver:
            found = self.spec.capacity.get(rest)
        return parse(found.value).nanos if found is not None else None

    @cached_property
    def counters(self) -> Counters:
        """What it takes of its pool's counters."""
        return {
            (each.counter_set, name): parse(counter.value).nanos
            for each in self.spec.consumes_counters
            for name, counter in each.counters.items()
        }


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """The devices of a pool that are reached from the same nodes."""

    pool: Pool
    place: Place
    devices: tuple[Device, ...]


@dataclass(eq=False)
class Pool:
    """`wrong` says why nothing is allocated from it: it is being updated, or invalid."""

    id: PoolId
    wrong: str = ""
    counters: Counters = field(default_factory=dict)
    parts: tuple[Part, ...] = ()

    def __str__(self) -> str:
        return "/".join(self.id)

    @property
    def devices(self) -> Iterator[Device]:
        for part in self.parts:
            yield from part.devices


class Inventory:
    """All pools. `generation` moves whenever what any of them has changes."""

    def __init__(self) -> None:
        self.generation = 0
        self.pools: dict[PoolId, Pool] = {}
        self._slices: dict[PoolId, dict[str, tuple[ResourceSliceSpec, tuple[Device, ...]]]] = {}
        self._by_node: dict[str, dict[Pool, Part]] = {}
        self._elsewhere: dict[Pool, tuple[Part, ...]] = {}

    def set_slice(self, old: ResourceSlice | None, new: ResourceSlice | None) -> None:
        """Take over a change of a slice."""
        if old is not None and new is not None and old.spec == new.spec:
            return
        touched: list[PoolId] = []
        for each in (old, new):
            if each is not None:
                touched.append((each.spec.driver, each.spec.pool.name))
        if old is not None:
            self._slices.get(touched[0], {}).pop(old.metadata.name, None)
        if new is not None:
            devices = tuple(_devices(new.spec))
            self._slices.setdefault(touched[-1], {})[new.metadata.name] = (new.spec, devices)
        for pool in dict.fromkeys(touched):
            self._rebuild(pool)
        self.generation += 1

    def local(self, node: str) -> list[Part]:
        """The parts that only this node reaches."""
        return list(self._by_node.get(node, {}).values())

    def elsewhere(self) -> Iterator[Part]:
        """The parts that more than one node may reach."""
        for parts in self._elsewhere.values():
            yield from parts

    def _rebuild(self, key: PoolId) -> None:
        old = self.pools.pop(key, None)
        if old is not None:
            self._elsewhere.pop(old, None)
            for part in old.parts:
                here = self._by_node.get(part.place.node, {})
                here.pop(old, None)
                if not here:
                    self._by_node.pop(part.place.node, None)
        slices = self._slices.get(key)
        if not slices:
            self._slices.pop(key, None)
            return
        pool = self.pools[key] = _pool(key, slices)
        for part in pool.parts:
            if part.place.node:
                self._by_node.setdefault(part.place.node, {})[pool] = part
        self._elsewhere[pool] = tuple(part for part in pool.parts if not part.place.node)


def _devices(spec: ResourceSliceSpec) -> Iterator[Device]:
    place = _place(spec)
    for each in spec.devices:
        yield Device(each, spec.driver, spec.pool.name, _place(each) if spec.per_device_node_selection else place)


def _place(where: ResourceSliceSpec | SliceDevice) -> Place:
    if where.node_name:
        return Place(where.node_name)
    if where.node_selector is not None:
        return Place("", where.node_selector, msgspec.json.encode(where.node_selector))
    return ANYWHERE


def _pool(key: PoolId, slices: Mapping[str, tuple[ResourceSliceSpec, tuple[Device, ...]]]) -> Pool:
    newest = max(spec.pool.generation for spec, _ in slices.values())
    current = [slices[name] for name in sorted(slices) if slices[name][0].pool.generation == newest]
    pool = Pool(key)
    if len(current) != current[0][0].pool.resource_slice_count:
        pool.wrong = "being updated"
    by_place: dict[tuple[str, bytes], list[Device]] = {}
    names: set[str] = set()
    for spec, devices in current:
        for device in devices:
            by_place.setdefault((device.place.node, device.place.key), []).append(device)
            if device.spec.name in names:
                pool.wrong = "invalid"
            names.add(device.spec.name)
        for counters in spec.shared_counters:
            for name, counter in counters.counters.items():
                pool.counters[counters.name, name] = parse(counter.value).nanos
    pool.parts = tuple(Part(pool, devices[0].place, tuple(devices)) for devices in by_place.values())
    return pool
