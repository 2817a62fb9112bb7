"""Defaults of a Service's spec, and what of it the server gave and keeps.

Source: upstream's `SetDefaults_Service` and `pkg/registry/core/service/storage`.
"""

from __future__ import annotations

from typing import Any

from tiphys.api.resource import Json

_REACHED_FROM_OUTSIDE = ("NodePort", "LoadBalancer")


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
