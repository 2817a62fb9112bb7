"""Services, slices and the ports that they make, for the proxy's tests, written as manifests are."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from tiphys.kinds.core.service import Service
from tiphys.kinds.discovery.endpointslice import EndpointSlice
from tiphys.proxy.plan import Port

Json = dict[str, Any]


def service(ingress: list[Json] | None = None, **spec: Any) -> Service:
    """Service default/web at 10.96.0.10 with port 80 named http."""
    spec = {"clusterIP": "10.96.0.10", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}], **spec}
    status = {"loadBalancer": {"ingress": ingress or []}}
    meta = {"name": "web", "namespace": "default"}
    return msgspec.convert({"metadata": meta, "spec": spec, "status": status}, Service)


def endpoint(address: str, node: str = "a", **conditions: bool) -> Json:
    return {"addresses": [address], "nodeName": node, "conditions": conditions}


def slice_of(*endpoints: Json, kind: str = "IPv4", **more: Any) -> EndpointSlice:
    ports = more.pop("ports", [{"name": "http", "port": 8080, "protocol": "TCP"}])
    meta = {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}}
    made = {"metadata": meta, "addressType": kind, "endpoints": list(endpoints), "ports": ports}
    return msgspec.convert(made, EndpointSlice)


_BACKENDS = st.lists(
    st.tuples(st.sampled_from([f"10.42.0.{n}" for n in range(5)]), st.sampled_from([80, 8080])), max_size=4, unique=True
).map(lambda found: tuple(sorted(found)))


@st.composite
def _port(draw: st.DrawFn, number: int) -> Port:
    backends = draw(_BACKENDS)
    reachable = draw(st.booleans())
    addresses = (f"192.0.2.{number}",) if reachable and draw(st.booleans()) else ()
    return Port(
        name=f"default/s{number}:http", protocol=draw(st.sampled_from(["tcp", "udp", "sctp"])), port=80,
        cluster_ip=f"10.96.0.{number}", addresses=addresses,
        node_port=30000 + number if reachable else 0, backends=backends,
        external=backends if draw(st.booleans()) else backends[:1], local=draw(st.booleans()),
        affinity=draw(st.sampled_from([0, 0, 60, 10800])),
        balanced=addresses if draw(st.booleans()) else (),
        sources=draw(st.sampled_from([(), ("198.51.100.0/24", "203.0.113.7/32")])),
        counter=draw(st.sampled_from(["", f"use-{number}"])),
    )  # fmt: skip


@st.composite
def clusters(draw: st.DrawFn) -> list[Port]:
    """The ports of up to six Services, which are others or the same the next time."""
    numbers = draw(st.lists(st.integers(1, 6), unique=True, max_size=6))
    return [draw(_port(number)) for number in numbers]
