"""From Services and EndpointSlices to what the kernel must know. Pure.

A `Port` is one port of a Service with the endpoints that serve it; the rules follow from the ports alone.
Source: https://kubernetes.io/docs/reference/networking/virtual-ips/
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tiphys.kinds.core.service import Service, ServicePort
from tiphys.kinds.discovery.endpointslice import Endpoint, EndpointSlice

Backend = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Port:
    """`addresses` are where clients connect besides `cluster_ip`, IPv4 text: external addresses and load balancers'.

    Those of load balancers are in `balanced` too, and only from `sources` may they be reached, if there are any.

    `backends` serve traffic from inside, `external` traffic through node ports and load balancers; with a Local policy
    they are the node's own. `affinity` is in seconds, 0 for none. `name` is unique and stable: NAMESPACE/NAME:PORT.
    """

    name: str
    protocol: str
    port: int
    cluster_ip: str
    addresses: tuple[str, ...]
    node_port: int
    backends: tuple[Backend, ...]
    external: tuple[Backend, ...]
    local: bool
    affinity: int
    balanced: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    # The name of the counter of packets to the endpoints, for Services whose use is told.
    counter: str = ""


def ports_of(service: Service, slices: Iterable[EndpointSlice], node: str) -> Iterator[Port]:
    """The ports of a Service as `node` must serve them; none for headless and ExternalName Services."""
    spec = service.spec
    if spec.type == "ExternalName" or spec.cluster_ip in ("", "None") or ":" in spec.cluster_ip:
        return
    slices = [found for found in slices if found.address_type == "IPv4"]
    sticky = spec.session_affinity_config.client_ip.timeout_seconds if spec.session_affinity == "ClientIP" else 0
    reachable = spec.type in ("NodePort", "LoadBalancer") or spec.external_ips
    external_local = spec.external_traffic_policy == "Local" and bool(reachable)
    ingress = service.status.load_balancer.ingress
    balanced = tuple(dict.fromkeys(_ipv4(point.ip for point in ingress if point.ip_mode != "Proxy")))
    sources = _ranges(spec.load_balancer_source_ranges)
    for port in spec.ports:
        endpoints = list(_endpoints(port, slices))
        everywhere = _usable(endpoints)
        here = _usable([(e, number) for e, number in endpoints if e.node_name == node])
        yield Port(
            name=f"{service.metadata.key}:{port.name or port.port}", protocol=port.protocol.lower(), port=port.port,
            cluster_ip=spec.cluster_ip, addresses=tuple(dict.fromkeys([*_ipv4(spec.external_ips), *balanced])),
            node_port=port.node_port, backends=here if spec.internal_traffic_policy == "Local" else everywhere,
            external=here if external_local else everywhere, local=external_local, affinity=sticky,
            balanced=balanced, sources=sources,
        )  # fmt: skip


def _ipv4(addresses: Iterable[str]) -> Iterator[str]:
    """What the rules can hold: one address of another family, or a word, would make the kernel refuse them all."""
    for address in addresses:
        with suppress(ValueError):
            yield str(ipaddress.IPv4Address(address))


def _ranges(texts: Sequence[str]) -> tuple[str, ...]:
    """The IPv4 ranges without overlap, which the kernel refuses; none if they hold every address."""
    found = []
    for text in texts:
        with suppress(ValueError):
            found.append(ipaddress.IPv4Network(text.strip(), strict=False))
    merged = list(ipaddress.collapse_addresses(found))
    return () if any(not network.prefixlen for network in merged) else tuple(map(str, merged))


def _endpoints(port: ServicePort, slices: Sequence[EndpointSlice]) -> Iterator[tuple[Endpoint, int]]:
    for found in slices:
        for candidate in found.ports:
            if candidate.name == port.name and candidate.protocol == port.protocol and candidate.port:
                for endpoint in found.endpoints:
                    yield endpoint, candidate.port


def _usable(endpoints: Sequence[tuple[Endpoint, int]]) -> tuple[Backend, ...]:
    """The ready backends; where none is, those that end but still serve (KEP-1669)."""
    ready = {(e.addresses[0], n) for e, n in endpoints if e.addresses and e.conditions.ready is not False}
    if not ready:
        ready = {
            (e.addresses[0], n)
            for e, n in endpoints
            if e.addresses and e.conditions.serving is not False and e.conditions.terminating
        }
    return tuple(sorted(ready))
