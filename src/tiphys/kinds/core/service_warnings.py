"""What upstream warns of in a Service though it is legal. Source: upstream's `pkg/api/service/warnings.go`."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.resource import Json
from tiphys.kinds.addresses import address_warnings, range_warnings
from tiphys.kinds.fields import dig

_HINTS, _MODE = "service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode"


def service_warnings(service: Json) -> Iterator[str]:
    spec = service.get("spec") or {}
    kind, headless = spec.get("type"), spec.get("type") == "ClusterIP" and spec.get("clusterIP") == "None"
    outside = spec.get("externalIPs") or ()
    if _HINTS in (dig(service, "metadata", "annotations") or {}):
        yield f"annotation {_HINTS} is deprecated, please use {_MODE} instead"
    for index, address in enumerate(spec.get("clusterIPs") or ()):
        yield from address_warnings(address, f"spec.clusterIPs[{index}]")
    if headless:
        if spec.get("loadBalancerIP"):
            yield "spec.loadBalancerIP is ignored for headless services"
        if outside:
            yield "spec.externalIPs is ignored for headless services"
        if spec.get("sessionAffinity") not in (None, "None"):
            yield "spec.SessionAffinity is ignored for headless services"
    for index, address in enumerate(outside):
        yield from address_warnings(address, f"spec.externalIPs[{index}]")
    if outside and not headless and kind != "ExternalName":
        yield "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
    if spec.get("loadBalancerIP"):
        yield from address_warnings(spec["loadBalancerIP"], "spec.loadBalancerIP")
    for index, value in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        yield from range_warnings(value, f"spec.loadBalancerSourceRanges[{index}]")
    if kind == "ExternalName" and outside:
        yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
    if kind != "ExternalName" and spec.get("externalName"):
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'
    if spec.get("trafficDistribution") == "PreferClose":
        yield 'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'
