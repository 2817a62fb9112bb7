"""Validation of a Service's spec and status. Source: upstream's `ValidateService` and `ValidateServiceStatusUpdate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tiphys.api import names
from tiphys.api.errors import duplicate, forbidden, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.addresses import check_not_special, parse
from tiphys.kinds.checks import Errors, follows, one_of
from tiphys.kinds.core.probe_validation import check_port
from tiphys.kinds.core.service_addresses import check_address_update, check_cluster_ips
from tiphys.kinds.fields import dig

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_OUTSIDE = ("NodePort", "LoadBalancer")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_POLICIES = ("Cluster", "Local")
_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
_MAX_AFFINITY = 86400
_HINTS, _MODE = "service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode"
_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_ONLY_BALANCED = "may only be used when `type` is 'LoadBalancer'"


def check_service(service: Json, old: Json | None) -> Errors:
    """A Service without its name."""
    spec, annotations = service.get("spec") or {}, dig(service, "metadata", "annotations") or {}
    if old is not None:
        yield from _check_update(spec, old.get("spec") or {})
    if _HINTS in annotations and annotations.get(_MODE, annotations[_HINTS]) != annotations[_HINTS]:
        rule = f"must match annotations[{_HINTS}] when both are specified"
        yield invalid(f"metadata.annotations[{_MODE}]", annotations[_MODE], rule)
    kind, headless = spec.get("type") or "", spec.get("clusterIPs") == ["None"]
    if not spec.get("ports") and not headless and kind != "ExternalName":
        yield required("spec.ports")
    if kind in _OUTSIDE and headless:
        yield invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")
    if kind == "ExternalName":
        yield from _check_name_only(spec)
    yield from _check_ports(spec.get("ports") or ())
    yield from names.validate_labels(spec.get("selector") or {}, "spec.selector")
    yield from _check_affinity(spec)
    if kind != "ExternalName":
        yield from check_cluster_ips(spec, headless=headless)
    for index, address in enumerate(spec.get("externalIPs") or ()):
        problems = list(follows(address, f"spec.externalIPs[{index}]", names.ip))
        yield from problems or check_not_special(address, f"spec.externalIPs[{index}]")
    if kind not in TYPES:
        yield not_supported("spec.type", kind, TYPES)
    yield from _check_collisions(spec, kind)
    yield from _check_balancer(spec, kind, annotations)
    yield from _check_traffic(spec, kind)


def _check_update(spec: Json, before: Json) -> Errors:
    yield from check_address_update(spec, before)
    chosen, port = spec.get("loadBalancerClass"), spec.get("healthCheckNodePort")
    balanced = spec.get("type") == before.get("type") == "LoadBalancer"
    if balanced and chosen != before.get("loadBalancerClass"):
        yield invalid("spec.loadBalancerClass", chosen, "may not change once set")
    if _health_checked(spec) and _health_checked(before) and port != before.get("healthCheckNodePort"):
        yield forbidden("spec.healthCheckNodePort", "field is immutable")


def _health_checked(spec: Json) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _check_name_only(spec: Json) -> Errors:
    for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(field):
            yield forbidden(f"spec.{field}", "may not be set for ExternalName services")
    name = (spec.get("externalName") or "").removesuffix(".")
    if name:
        yield from follows(name, "spec.externalName", names.dns1123_subdomain)
    else:
        yield required("spec.externalName")


def _check_ports(ports: Sequence[Json]) -> Errors:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        where, name = f"spec.ports[{index}]", port.get("name") or ""
        if not name and len(ports) > 1:
            yield required(f"{where}.name")
        elif name:
            yield from follows(name, f"{where}.name", names.dns1123_label)
            if name in seen:
                yield duplicate(f"{where}.name", name)
            seen.add(name)
        for problem in names.port_number(port.get("port") or 0):
            yield invalid(f"{where}.port", port.get("port") or 0, problem)
        protocol = port.get("protocol")
        if not protocol:
            yield required(f"{where}.protocol")
        yield from one_of(port, where, "protocol", _PROTOCOLS)
        yield from check_port(port.get("targetPort"), f"{where}.targetPort")
        if port.get("appProtocol") is not None:
            yield from follows(port["appProtocol"], f"{where}.appProtocol", names.qualified_name)


def _check_affinity(spec: Json) -> Errors:
    affinity, config, where = (
        spec.get("sessionAffinity"),
        spec.get("sessionAffinityConfig"),
        "spec.sessionAffinityConfig",
    )
    if not affinity:
        yield required("spec.sessionAffinity")
    yield from one_of(spec, "spec", "sessionAffinity", ("ClientIP", "None"))
    if affinity == "None" and config is not None:
        yield forbidden(where, "must not be set when session affinity is None")
    if affinity != "ClientIP":
        return
    client = (config or {}).get("clientIP")
    seconds = (client or {}).get("timeoutSeconds")
    missing = where if config is None else f"{where}.clientIP" + ("" if client is None else ".timeoutSeconds")
    if seconds is None:
        yield required(missing, "when session affinity type is ClientIP")
    elif not 0 < seconds <= _MAX_AFFINITY:
        yield invalid(missing, seconds, f"must be greater than 0 and less than {_MAX_AFFINITY}")


def _check_collisions(spec: Json, kind: str) -> Errors:
    """Ports that are said twice, and node ports where there can be none."""
    ports = spec.get("ports") or ()
    for index, port in enumerate(ports):
        if kind == "ClusterIP" and port.get("nodePort"):
            yield forbidden(f"spec.ports[{index}].nodePort", "may not be used when `type` is 'ClusterIP'")
    seen: set[tuple[Any, ...]] = set()
    for index, port in enumerate(ports):
        taken = (port.get("protocol"), port.get("nodePort"))
        if taken[1] and taken in seen:
            yield duplicate(f"spec.ports[{index}].nodePort", taken[1])
        seen.add(taken)
    seen.clear()
    for index, port in enumerate(ports):
        taken = (port.get("protocol"), port.get("port"))
        if taken in seen:
            shown = {
                "Name": "",
                "Protocol": taken[0],
                "AppProtocol": None,
                "Port": taken[1],
                "TargetPort": 0,
                "NodePort": 0,
            }
            yield duplicate(f"spec.ports[{index}]", shown)
        seen.add(taken)


def _check_balancer(spec: Json, kind: str, annotations: Json) -> Errors:
    balanced, ranges, where = (
        kind == "LoadBalancer",
        spec.get("loadBalancerSourceRanges"),
        "spec.LoadBalancerSourceRanges",
    )
    if ranges:
        if not balanced:
            yield forbidden(where, _ONLY_BALANCED)
        for index, value in enumerate(ranges):
            yield from follows(value.strip(), f"{where}[{index}]", names.cidr)
    elif _RANGES in annotations:
        where = f"metadata.annotations[{_RANGES}]"
        if not balanced:
            yield forbidden(where, _ONLY_BALANCED)
        for value in annotations[_RANGES].split(",") if annotations[_RANGES].strip() else ():
            yield from follows(value.strip(), where, names.cidr)
    if spec.get("allocateLoadBalancerNodePorts") is not None and not balanced:
        yield forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_BALANCED)
    chosen = spec.get("loadBalancerClass")
    if chosen is not None and not balanced:
        yield forbidden("spec.loadBalancerClass", _ONLY_BALANCED)
    elif chosen is not None:
        yield from follows(chosen, "spec.loadBalancerClass", names.qualified_name)


def _check_traffic(spec: Json, kind: str) -> Errors:
    policy, port = spec.get("externalTrafficPolicy"), spec.get("healthCheckNodePort")
    if not (kind in _OUTSIDE or (kind == "ClusterIP" and spec.get("externalIPs"))):
        if policy:
            rule = "may only be set for externally-accessible services"
            yield invalid("spec.externalTrafficPolicy", policy, rule)
    elif not policy:
        yield required("spec.externalTrafficPolicy")
    else:
        yield from one_of(spec, "spec", "externalTrafficPolicy", _POLICIES)
    if port and not _health_checked(spec):
        rule = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        yield invalid("spec.healthCheckNodePort", port, rule)
    elif port:
        for problem in names.port_number(port):
            yield invalid("spec.healthCheckNodePort", port, problem)
    yield from one_of(spec, "spec", "internalTrafficPolicy", _POLICIES)
    yield from one_of(spec, "spec", "trafficDistribution", _DISTRIBUTIONS)


def check_status(service: Json) -> Errors:
    points, where = dig(service, "status", "loadBalancer", "ingress") or (), "status.loadBalancer.ingress"
    if points and dig(service, "spec", "type") != "LoadBalancer":
        yield forbidden(where, "may only be used when `spec.type` is 'LoadBalancer'")
        return
    for index, point in enumerate(points):
        yield from _check_point(point, f"{where}[{index}]")


def _check_point(point: Json, path: str) -> Errors:
    address, mode = point.get("ip") or "", point.get("ipMode")
    if address:
        yield from follows(address, f"{path}.ip", names.ip)
    if mode is None and address:
        yield required(f"{path}.ipMode", "must be specified when `ip` is set")
    elif mode is not None and not address:
        yield forbidden(f"{path}.ipMode", "may not be specified when `ip` is not set")
    else:
        yield from one_of(point, path, "ipMode", ("Proxy", "VIP"))
    yield from check_point_hostname(point, path)


def check_point_hostname(point: Json, path: str) -> Errors:
    """Of where a load balancer is, of a Service or an Ingress."""
    hostname = point.get("hostname") or ""
    if hostname:
        yield from follows(hostname, f"{path}.hostname", names.dns1123_subdomain)
        if parse(hostname) is not None:
            yield invalid(f"{path}.hostname", hostname, "must be a DNS name, not an IP address")
