"""Defaults and validation of a Service's spec.

Source: upstream's `SetDefaults_Service` and `ValidateService`, `ValidateServiceUpdate`.
"""

from __future__ import annotations

from typing import Any

from tiphys.api import names
from tiphys.api.errors import duplicate, forbidden, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import IMMUTABLE, Errors, follows, one_of

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_REACHED_FROM_OUTSIDE = ("NodePort", "LoadBalancer")
_MAX_AFFINITY = 86400


def default_service(spec: Json) -> None:
    """In place, all but what an allocator gives."""
    if not spec.get("sessionAffinity"):
        spec["sessionAffinity"] = "None"
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    else:
        client = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        client.setdefault("timeoutSeconds", 10800)
    kind = spec["type"] = spec.get("type") or "ClusterIP"
    for port in spec.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port", 0)
    if not spec.get("externalTrafficPolicy") and (
        kind in _REACHED_FROM_OUTSIDE or (kind == "ClusterIP" and spec.get("externalIPs"))
    ):
        spec["externalTrafficPolicy"] = "Cluster"
    if kind != "ExternalName" and not spec.get("internalTrafficPolicy"):
        spec["internalTrafficPolicy"] = "Cluster"
    if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is None:
        spec["allocateLoadBalancerNodePorts"] = True
    _pair_cluster_ips(spec)


def _pair_cluster_ips(spec: Json) -> None:
    """`clusterIP` is the first of `clusterIPs`, whichever was given."""
    single, several = spec.get("clusterIP"), spec.get("clusterIPs")
    if single and not several:
        spec["clusterIPs"] = [single]
    elif several and not single:
        spec["clusterIP"] = several[0]


def keep_allocated(spec: Json, old: Json) -> None:
    """What the server gave stays when an update leaves it out, and goes when the new type has no use for it."""
    kind = spec.get("type")
    if kind == "ExternalName":
        if old.get("type") != "ExternalName" and spec.get("clusterIP") == old.get("clusterIP"):
            for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                spec.pop(field, None)
        return
    if old.get("type") != "ExternalName":
        for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if not spec.get(field) and old.get(field):
                spec[field] = old[field]
    if kind in _REACHED_FROM_OUTSIDE:
        _keep_node_ports(spec, old)
    elif old.get("type") in _REACHED_FROM_OUTSIDE:
        _drop_node_ports(spec, old)


def _same_port(port: Json) -> tuple[Any, ...]:
    return port.get("protocol"), port.get("port")


def _keep_node_ports(spec: Json, old: Json) -> None:
    had = {_same_port(port): port["nodePort"] for port in old.get("ports") or () if port.get("nodePort")}
    used = {port.get("nodePort") for port in spec.get("ports") or ()}
    for port in spec.get("ports") or ():
        number = had.get(_same_port(port))
        if not port.get("nodePort") and number and number not in used:
            port["nodePort"] = number
    local = spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
    if local and not spec.get("healthCheckNodePort") and old.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = old["healthCheckNodePort"]


def _drop_node_ports(spec: Json, old: Json) -> None:
    had = {port.get("nodePort") for port in old.get("ports") or ()}
    for port in spec.get("ports") or ():
        if port.get("nodePort") in had:
            port.pop("nodePort", None)
    for field in ("healthCheckNodePort", "allocateLoadBalancerNodePorts"):
        if spec.get(field) == old.get(field):
            spec.pop(field, None)
    if not spec.get("externalIPs") and spec.get("externalTrafficPolicy") == old.get("externalTrafficPolicy"):
        spec.pop("externalTrafficPolicy", None)


def check_service(spec: Json, old: Json | None) -> Errors:
    kind = spec.get("type") or ""
    if kind not in TYPES:
        yield not_supported("spec.type", kind, TYPES)
    headless = spec.get("clusterIP") == "None"
    if not spec.get("ports") and not headless and kind != "ExternalName":
        yield required("spec.ports")
    yield from _check_ports(spec, headless=headless)
    yield from names.validate_labels(spec.get("selector") or {}, "spec.selector")
    yield from _check_kind(spec, kind, headless=headless)
    yield from _check_policies(spec, kind)
    yield from _check_addresses(spec)
    if old is not None:
        yield from _check_update(spec, old)


def _check_ports(spec: Json, *, headless: bool) -> Errors:
    ports = spec.get("ports") or ()
    seen_names: set[str] = set()
    seen: set[tuple[Any, ...]] = set()
    node_ports: set[tuple[Any, ...]] = set()
    for index, port in enumerate(ports):
        where = f"spec.ports[{index}]"
        name = port.get("name") or ""
        if not name and len(ports) > 1:
            yield required(f"{where}.name")
        elif name:
            yield from follows(name, f"{where}.name", names.dns1123_label)
            if name in seen_names:
                yield duplicate(f"{where}.name", name)
            seen_names.add(name)
        for problem in names.port_number(port.get("port") or 0):
            yield invalid(f"{where}.port", port.get("port") or 0, problem)
        yield from one_of(port, where, "protocol", ("SCTP", "TCP", "UDP"))
        yield from _check_target(port.get("targetPort"), f"{where}.targetPort")
        if _same_port(port) in seen:
            yield duplicate(where, {"port": port.get("port"), "protocol": port.get("protocol")})
        seen.add(_same_port(port))
        if port.get("nodePort"):
            if spec.get("type") in ("ClusterIP", "ExternalName"):
                yield forbidden(f"{where}.nodePort", "may not be used when `type` is 'ClusterIP'")
            taken = (port.get("protocol"), port["nodePort"])
            if taken in node_ports:
                yield duplicate(f"{where}.nodePort", port["nodePort"])
            node_ports.add(taken)


def _check_target(target: Any, path: str) -> Errors:
    if isinstance(target, str):
        yield from follows(target, path, names.port_name)
    elif target is not None:
        for problem in names.port_number(target):
            yield invalid(path, target, problem)


def _check_kind(spec: Json, kind: str, *, headless: bool) -> Errors:
    if kind in _REACHED_FROM_OUTSIDE and headless:
        yield invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")
    if kind == "ExternalName":
        if spec.get("clusterIPs"):
            yield forbidden("spec.clusterIPs", "may not be set when `type` is 'ExternalName'")
        name = (spec.get("externalName") or "").removesuffix(".")
        if name:
            yield from follows(name, "spec.externalName", names.dns1123_subdomain)
        else:
            yield required("spec.externalName")
    if spec.get("loadBalancerClass"):
        if kind != "LoadBalancer":
            yield forbidden("spec.loadBalancerClass", "may only be used when `type` is 'LoadBalancer'")
        else:
            yield from follows(spec["loadBalancerClass"], "spec.loadBalancerClass", names.qualified_name)
    if spec.get("loadBalancerSourceRanges") and kind != "LoadBalancer":
        yield forbidden("spec.LoadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'")
    for index, cidr in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        yield from follows(cidr.strip(), f"spec.LoadBalancerSourceRanges[{index}]", names.cidr)


def _check_policies(spec: Json, kind: str) -> Errors:
    affinity = spec.get("sessionAffinity")
    if not affinity:
        yield required("spec.sessionAffinity")
    yield from one_of(spec, "spec", "sessionAffinity", ("ClientIP", "None"))
    if affinity == "ClientIP":
        seconds = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
        where = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
        if seconds is None:
            yield required(where)
        elif not 0 < seconds <= _MAX_AFFINITY:
            yield invalid(where, seconds, f"must be greater than 0 and less than {_MAX_AFFINITY}")
    yield from one_of(spec, "spec", "externalTrafficPolicy", ("Cluster", "Local"))
    yield from one_of(spec, "spec", "internalTrafficPolicy", ("Cluster", "Local"))
    yield from one_of(spec, "spec", "ipFamilyPolicy", ("PreferDualStack", "RequireDualStack", "SingleStack"))
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in ("PreferClose", "PreferSameZone", "PreferSameNode"):
        yield not_supported(
            "spec.trafficDistribution", distribution, ("PreferClose", "PreferSameNode", "PreferSameZone")
        )
    outside = kind in _REACHED_FROM_OUTSIDE or spec.get("externalIPs")
    if spec.get("externalTrafficPolicy") and not outside:
        rule = "may only be set for externally-accessible services"
        yield invalid("spec.externalTrafficPolicy", spec["externalTrafficPolicy"], rule)
    if spec.get("healthCheckNodePort") and not (
        kind == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
    ):
        rule = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        yield invalid("spec.healthCheckNodePort", spec["healthCheckNodePort"], rule)


def _check_addresses(spec: Json) -> Errors:
    for index, address in enumerate(spec.get("externalIPs") or ()):
        yield from follows(address, f"spec.externalIPs[{index}]", names.ip)
    cluster_ips = spec.get("clusterIPs") or []
    for index, address in enumerate(cluster_ips):
        if address != "None":
            yield from follows(address, f"spec.clusterIPs[{index}]", names.ip)
        elif len(cluster_ips) > 1:
            yield invalid("spec.clusterIPs", cluster_ips, "'None' must be the first and only value")
    if cluster_ips and spec.get("clusterIP") != cluster_ips[0]:
        yield invalid("spec.clusterIPs", cluster_ips, "first value must match `clusterIP`")
    for index, family in enumerate(spec.get("ipFamilies") or ()):
        if family not in ("IPv4", "IPv6"):
            yield not_supported(f"spec.ipFamilies[{index}]", family, ("IPv4", "IPv6"))


def _check_update(spec: Json, old: Json) -> Errors:
    """An address once given stays, unless the service becomes or was a mere name."""
    if "ExternalName" in (spec.get("type"), old.get("type")):
        return
    before, after = old.get("clusterIPs") or [], spec.get("clusterIPs") or []
    if before and (not after or after[0] != before[0]):
        yield invalid("spec.clusterIPs[0]", after, "may not change once set")
    chosen = old.get("loadBalancerClass") if spec.get("type") == old.get("type") == "LoadBalancer" else None
    if chosen and spec.get("loadBalancerClass") != chosen:
        yield invalid("spec.loadBalancerClass", spec.get("loadBalancerClass"), "may not change once set")
    families_before, families_after = old.get("ipFamilies") or [], spec.get("ipFamilies") or []
    if families_before and families_after and families_before[0] != families_after[0]:
        yield invalid("spec.ipFamilies[0]", families_after[0], IMMUTABLE)
