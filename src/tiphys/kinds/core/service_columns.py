"""What `kubectl get services` shows. Source: upstream's `printService`."""

from __future__ import annotations

from tiphys.api.resource import Json
from tiphys.kinds.columns import AGE, NAME, NONE, UNKNOWN, at, column, map_text
from tiphys.kinds.fields import dig


def load_balancer(obj: Json) -> str:
    """The addresses of `status.loadBalancer`, IPs or host names, sorted."""
    found = {point.get("ip") or point.get("hostname") for point in dig(obj, "status", "loadBalancer", "ingress") or ()}
    return ",".join(sorted(name for name in found if name))


def _external(obj: Json) -> str:
    kind, ips = dig(obj, "spec", "type"), dig(obj, "spec", "externalIPs") or []
    if kind in ("ClusterIP", "NodePort"):
        return ",".join(ips) or NONE
    if kind == "LoadBalancer":
        balanced = load_balancer(obj)
        if ips:
            return ",".join([*(balanced.split(",") if balanced else ()), *ips])
        return balanced or "<pending>"
    return (dig(obj, "spec", "externalName") or "") if kind == "ExternalName" else UNKNOWN


def _ports(obj: Json) -> str:
    pieces = []
    for port in dig(obj, "spec", "ports") or ():
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        pieces.append(f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(pieces) or NONE


COLUMNS = (
    NAME,
    at("Type", "spec", "type"),
    at("Cluster-IP", "spec", "clusterIP", empty=NONE),
    column("External-IP", _external),
    column("Port(s)", _ports),
    AGE,
    column("Selector", lambda obj: map_text(dig(obj, "spec", "selector")), wide=True),
)
