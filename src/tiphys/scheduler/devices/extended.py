"""Extended resources that DeviceClasses stand for: what a pod requests of them becomes a claim of its own.

A node that has the resource by itself (a device plugin) gives it as ever; of one that has none the devices are claimed.
Init containers use the devices that containers after them will have; only what is missing then is asked for besides.
Source: https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#extended-resource
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from tiphys.api.quantity import parse
from tiphys.kinds.core.container import Container
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.resource.deviceclass import DeviceClass
from tiphys.kinds.resource.requests import ResourceClaimSpec
from tiphys.scheduler.cluster import Cluster, Mask
from tiphys.scheduler.pod import PodInfo

# Every class has a name of a resource, besides one that it may say.
_IMPLICIT = "deviceclass.resource.kubernetes.io/"
Json = dict[str, Any]


def backing(classes: Collection[DeviceClass]) -> dict[str, str]:
    """By extended resource, the class that stands for it: of several the newest, of those the first by name."""
    found: dict[str, str] = {}
    for each in sorted(classes, key=lambda each: each.metadata.name, reverse=True):
        found[_IMPLICIT + each.metadata.name] = each.metadata.name
    named = [each for each in classes if each.spec.extended_resource_name]
    named.sort(key=lambda each: each.metadata.name, reverse=True)
    for each in sorted(named, key=lambda each: each.metadata.creation_timestamp):
        found[each.spec.extended_resource_name or ""] = each.metadata.name
    return found


def names_of(class_: DeviceClass) -> list[str]:
    """The extended resources that a class may stand for."""
    named = class_.spec.extended_resource_name
    return [_IMPLICIT + class_.metadata.name, *([named] if named else [])]


def wanted_names(info: PodInfo, backed: Mapping[str, str]) -> tuple[str, ...]:
    """The resources that the pod requests and classes stand for."""
    return tuple(sorted(name for name, value in info.requests.items() if value and name in backed))


def patterns(names: tuple[str, ...], cluster: Cluster) -> Iterator[tuple[tuple[str, ...], Mask]]:
    """The live rows, by which of these resources they have none of."""
    lacking = np.zeros(len(cluster.rows), np.int64)
    for place, name in enumerate(names):
        column = cluster.columns.get(name)
        none = cluster.allocatable[:, column] == 0 if column is not None else True
        lacking |= np.where(none, 1 << place, 0)
    for value in np.unique(lacking[cluster.live]).tolist():
        yield tuple(name for place, name in enumerate(names) if value & 1 << place), lacking == value


@dataclass(frozen=True)
class ExtendedClaim:
    """A claim's spec, and the `requestMappings` of the pod's status."""

    json: Json
    mappings: list[Json]

    @cached_property
    def spec(self) -> ResourceClaimSpec:
        return msgspec.convert(self.json, ResourceClaimSpec)

    @cached_property
    def key(self) -> bytes:
        return msgspec.json.encode(self.json)


def extended_claim(pod: Pod, names: tuple[str, ...], backed: Mapping[str, str]) -> ExtendedClaim:
    """The claim for what the pod requests of these resources."""
    requests: list[Json] = []
    mappings: list[Json] = []
    for name in names:
        found, mapped = _of_resource(pod, name, backed[name])
        requests += found
        mappings += mapped
    requests.sort(key=lambda request: str(request["name"]))
    return ExtendedClaim({"devices": {"requests": requests}}, mappings)


def _of_resource(pod: Pod, name: str, class_: str) -> tuple[list[Json], list[Json]]:
    containers = [*pod.spec.init_containers, *pod.spec.containers]
    first = len(pod.spec.init_containers)
    lasting = {
        place: (_request_name(place, each, name), count)
        for place, each in enumerate(containers)
        if (place >= first or each.restart_policy == "Always") and (count := _count(each, name))
    }  # fmt: skip
    mappings = [_mapping(containers[place], name, request) for place, (request, _) in lasting.items()]
    passing: list[tuple[str, int, int]] = []
    for place, each in enumerate(containers[:first]):
        left = _count(each, name)
        if place in lasting or not left:
            continue
        for later, (request, count) in lasting.items():
            if later > place and left > 0:
                mappings.append(_mapping(each, name, request))
                left -= count
        if left > 0:
            passing.append((_request_name(place, each, name), left, place))
    requests = [(request, count) for request, count in lasting.values()]
    if passing:
        # One after the other they use the same devices: as many as the one that needs most.
        most = max(passing, key=lambda each: each[1])
        requests.append((most[0], most[1]))
        mappings += [_mapping(containers[place], name, most[0]) for _, _, place in passing]
    exact = {"deviceClassName": class_, "allocationMode": "ExactCount"}
    return [{"name": request, "exactly": {**exact, "count": count}} for request, count in requests], mappings


def _count(container: Container, name: str) -> int:
    text = container.resources.requests.get(name)
    return parse(text).value() if text is not None else 0


def _request_name(place: int, container: Container, name: str) -> str:
    return f"container-{place}-request-{sorted(container.resources.requests).index(name)}"


def _mapping(container: Container, name: str, request: str) -> Json:
    return {"containerName": container.name, "resourceName": name, "requestName": request}
