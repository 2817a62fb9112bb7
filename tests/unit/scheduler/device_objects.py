"""Devices, classes and claims for tests, written as manifests are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from scheduler_objects import Json

from tiphys.kinds.resource.deviceclass import DeviceClass
from tiphys.kinds.resource.requests import ResourceClaimSpec
from tiphys.kinds.resource.resourceslice import ResourceSlice

DRIVER = "gpu.example.com"
GPU = "gpu"


def device(name: str, *, capacity: dict[str, str] | None = None, attributes: Json | None = None, **more: Any) -> Json:
    """`attributes` of strings, bools and ints; of anything else give the typed form."""
    kinds: dict[type, str] = {str: "string", bool: "bool", int: "int"}
    typed = {key: value if isinstance(value, dict) else {kinds[type(value)]: value}
             for key, value in (attributes or {}).items()}  # fmt: skip
    amounts = {key: value if isinstance(value, dict) else {"value": value} for key, value in (capacity or {}).items()}
    return {"name": name, "attributes": typed, "capacity": amounts, **more}


def slice_json(name: str, devices: Sequence[Json], *, pool: str = "", generation: int = 1, count: int = 1,
               driver: str = DRIVER, **where: Any) -> Json:  # fmt: skip
    """The slice of a node of its name, unless `where` says otherwise."""
    spec = {"driver": driver, "pool": {"name": pool or name, "generation": generation, "resourceSliceCount": count}}
    return {"metadata": {"name": name}, "spec": {**spec, **(where or {"nodeName": name}), "devices": list(devices)}}


def slice_(name: str, devices: Sequence[Json], **more: Any) -> ResourceSlice:
    return msgspec.convert(slice_json(name, devices, **more), ResourceSlice)


def class_json(name: str = GPU, *expressions: str, **spec: Any) -> Json:
    selectors = [{"cel": {"expression": each}} for each in expressions]
    return {"metadata": {"name": name}, "spec": {"selectors": selectors, **spec}}


def class_(name: str = GPU, *expressions: str, **spec: Any) -> DeviceClass:
    return msgspec.convert(class_json(name, *expressions, **spec), DeviceClass)


def exactly(name: str = "r", *expressions: str, **more: Any) -> Json:
    return {"name": name, "exactly": choice(*expressions, **more)}


def choice(*expressions: str, **more: Any) -> Json:
    selectors = [{"cel": {"expression": each}} for each in expressions]
    return {"deviceClassName": GPU, "selectors": selectors, **more}


def spec_json(*requests: Json, **more: Any) -> Json:
    return {"devices": {"requests": list(requests or (exactly(),)), **more}}


def spec(*requests: Json, **more: Any) -> ResourceClaimSpec:
    return msgspec.convert(spec_json(*requests, **more), ResourceClaimSpec)


def claim_json(name: str, *requests: Json, **more: Any) -> Json:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec_json(*requests, **more)}
