"""From Services and slices to ports: which endpoints serve whom."""

from __future__ import annotations

import pytest
from proxy_objects import Json, endpoint, service, slice_of

from tiphys.kinds.core.service import Service
from tiphys.kinds.discovery.endpointslice import EndpointSlice
from tiphys.proxy.plan import Port, ports_of


def one(made: Service, *slices: EndpointSlice, node: str = "a") -> Port:
    (port,) = ports_of(made, slices, node)
    return port


def test_a_port_and_its_endpoints() -> None:
    port = one(service(), slice_of(endpoint("10.42.0.2"), endpoint("10.42.1.2", "b")))
    assert (port.name, port.protocol, port.port, port.cluster_ip) == ("default/web:http", "tcp", 80, "10.96.0.10")
    assert port.backends == port.external == (("10.42.0.2", 8080), ("10.42.1.2", 8080))
    assert (port.addresses, port.node_port, port.local, port.affinity, port.sources) == ((), 0, False, 0, ())


@pytest.mark.parametrize("spec", [{"clusterIP": "None"}, {"clusterIP": ""}, {"clusterIP": "fd00::1"}])
def test_services_without_an_address_here_have_no_ports(spec: Json) -> None:
    assert list(ports_of(service(**spec), [slice_of(endpoint("10.42.0.2"))], "a")) == []


def test_external_names_have_no_ports() -> None:
    assert list(ports_of(service(type="ExternalName", externalName="x.io", clusterIP=""), [], "a")) == []


def test_readiness() -> None:
    slices = slice_of(endpoint("10.42.0.1"), endpoint("10.42.0.2", ready=True), endpoint("10.42.0.3", ready=False))
    assert one(service(), slices).backends == (("10.42.0.1", 8080), ("10.42.0.2", 8080))


def test_those_that_end_but_serve_are_the_last_resort() -> None:
    ending = endpoint("10.42.0.1", ready=False, serving=True, terminating=True)
    broken = endpoint("10.42.0.2", ready=False, serving=False, terminating=True)
    starting = endpoint("10.42.0.3", ready=False, serving=False)
    assert one(service(), slice_of(ending, broken, starting)).backends == (("10.42.0.1", 8080),)
    assert one(service(), slice_of(ending, endpoint("10.42.0.9"))).backends == (("10.42.0.9", 8080),)
    assert one(service(), slice_of(broken, starting)).backends == ()


def test_internal_policy() -> None:
    slices = slice_of(endpoint("10.42.0.1", "a"), endpoint("10.42.1.1", "b"))
    local = service(internalTrafficPolicy="Local", type="NodePort")
    assert one(local, slices).backends == (("10.42.0.1", 8080),)
    assert one(local, slices, node="c").backends == ()
    assert len(one(local, slices).external) == 2


@pytest.mark.parametrize(
    ("spec", "local"),
    [
        ({"type": "NodePort"}, True),
        ({"type": "LoadBalancer"}, True),
        ({"type": "ClusterIP", "externalIPs": ["192.0.2.1"]}, True),
        ({"type": "ClusterIP"}, False),
    ],
)
def test_external_policy(spec: Json, local: bool) -> None:
    slices = slice_of(endpoint("10.42.0.1", "a"), endpoint("10.42.1.1", "b"))
    port = one(service(externalTrafficPolicy="Local", **spec), slices)
    assert port.local is local
    assert len(port.external) == (1 if local else 2)
    assert len(port.backends) == 2


def test_the_last_resort_is_sought_on_the_node_itself_too() -> None:
    ending = endpoint("10.42.0.1", "a", ready=False, serving=True, terminating=True)
    made = service(type="NodePort", externalTrafficPolicy="Local")
    port = one(made, slice_of(ending, endpoint("10.42.1.1", "b")))
    assert (port.external, port.backends) == ((("10.42.0.1", 8080),), (("10.42.1.1", 8080),))


def test_affinity() -> None:
    assert one(service(sessionAffinity="ClientIP")).affinity == 10800
    config = {"clientIP": {"timeoutSeconds": 60}}
    assert one(service(sessionAffinity="ClientIP", sessionAffinityConfig=config)).affinity == 60
    assert one(service(sessionAffinityConfig=config)).affinity == 0


def test_addresses_are_those_of_this_family() -> None:
    ingress = [{"ip": "192.0.2.2", "ipMode": "VIP"}, {"ip": "192.0.2.3", "ipMode": "Proxy"}, {"ip": "2001:db8::2"},
               {"hostname": "lb.x.io"}]  # fmt: skip
    made = service(type="LoadBalancer", externalIPs=["192.0.2.1", "2001:db8::1", "192.0.2.2"], ingress=ingress)
    assert one(made).addresses == ("192.0.2.1", "192.0.2.2")


def test_sources_are_ranges_that_do_not_overlap() -> None:
    ranges = ["10.0.0.0/8", "10.1.0.0/16", " 192.0.2.7/24", "2001:db8::/32"]
    assert one(service(type="LoadBalancer", loadBalancerSourceRanges=ranges)).sources == ("10.0.0.0/8", "192.0.2.0/24")
    assert one(service(type="LoadBalancer", loadBalancerSourceRanges=["0.0.0.0/0"])).sources == ()


def test_ports_are_matched_by_name_and_protocol() -> None:
    wanted = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    ports = [{"name": "dns", "port": 5353, "protocol": "UDP"}, {"name": "dns-tcp", "port": 5354, "protocol": "TCP"},
             {"name": "other", "port": 1, "protocol": "TCP"}]  # fmt: skip
    found = list(ports_of(service(ports=wanted), [slice_of(endpoint("10.42.0.1"), ports=ports)], "a"))
    assert [(port.name, port.protocol, port.backends) for port in found] == [
        ("default/web:dns", "udp", (("10.42.0.1", 5353),)), ("default/web:dns-tcp", "tcp", (("10.42.0.1", 5354),)),
    ]  # fmt: skip


def test_a_port_without_a_name_matches_that_of_the_slice_without_one() -> None:
    made = service(ports=[{"port": 80, "protocol": "TCP"}])
    port = one(made, slice_of(endpoint("10.42.0.1"), ports=[{"name": "", "port": 8080, "protocol": "TCP"}]))
    assert (port.name, port.backends) == ("default/web:80", (("10.42.0.1", 8080),))


def test_slices_of_other_families_and_endpoints_without_addresses_do_not_count() -> None:
    empty = {"addresses": [], "conditions": {}}
    other = slice_of(endpoint("fd00::1"), kind="IPv6")
    assert one(service(), other, slice_of(empty, endpoint("10.42.0.1"))).backends == (("10.42.0.1", 8080),)


def test_an_endpoint_in_two_slices_counts_once() -> None:
    same = slice_of(endpoint("10.42.0.1"))
    assert one(service(), same, same).backends == (("10.42.0.1", 8080),)
