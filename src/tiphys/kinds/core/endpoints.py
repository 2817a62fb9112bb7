"""Endpoints. Source: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoints-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, invalid, required
from tiphys.api.meta import Model, ObjectMeta, ObjectReference
from tiphys.api.resource import Json
from tiphys.kinds.addresses import address_warnings, check_not_special
from tiphys.kinds.checks import follows, one_of
from tiphys.kinds.columns import AGE, NAME, column, joined
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import put_text
from tiphys.kinds.strategy import KindStrategy


class EndpointAddress(Model):
    ip: str
    hostname: str = ""
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointPort(Model):
    port: int
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str | None = None


class EndpointSubset(Model):
    addresses: list[EndpointAddress] = []
    not_ready_addresses: list[EndpointAddress] = []
    ports: list[EndpointPort] = []


class Endpoints(Model):
    metadata: ObjectMeta = ObjectMeta()
    subsets: list[EndpointSubset] = []


def _shown(obj: Json) -> str:
    found = []
    for subset in obj.get("subsets") or ():
        addresses = [address.get("ip", "") for address in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        if not ports:
            found += addresses
        for port in ports:
            found += [join_host_port(address, port.get("port") or 0) for address in addresses]
    return joined(found, most=3)


def join_host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class EndpointsStrategy(KindStrategy):
    def default(self, new: Json) -> None:
        for subset in new.get("subsets") or ():
            for port in subset.get("ports") or ():
                put_text(port, "protocol", "TCP")

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        if old is not None and new.get("subsets") == old.get("subsets"):
            return
        for index, subset in enumerate(new.get("subsets") or ()):
            where, ports = f"subsets[{index}]", subset.get("ports") or ()
            if not subset.get("addresses") and not subset.get("notReadyAddresses"):
                yield required(where, "must specify `addresses` or `notReadyAddresses`")
            for kind in ("addresses", "notReadyAddresses"):
                for position, address in enumerate(subset.get(kind) or ()):
                    yield from _check_address(address, f"{where}.{kind}[{position}]")
            for position, port in enumerate(ports):
                yield from _check_port(port, f"{where}.ports[{position}]", named=len(ports) > 1)

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        for index, subset in enumerate(new.get("subsets") or ()):
            for kind in ("addresses", "notReadyAddresses"):
                for position, address in enumerate(subset.get(kind) or ()):
                    yield from address_warnings(address.get("ip") or "", f"subsets[{index}].{kind}[{position}].ip")


def _check_address(address: Json, path: str) -> Iterator[FieldError]:
    ip = address.get("ip") or ""
    yield from follows(ip, f"{path}.ip", names.ip)
    if address.get("hostname"):
        yield from follows(address["hostname"], f"{path}.hostname", names.dns1123_label)
    if address.get("nodeName") is not None:
        yield from follows(address["nodeName"], f"{path}.nodeName", names.dns1123_subdomain)
    yield from check_not_special(ip, f"{path}.ip")


def _check_port(port: Json, path: str, *, named: bool) -> Iterator[FieldError]:
    if port.get("name"):
        yield from follows(port["name"], f"{path}.name", names.dns1123_label)
    elif named:
        yield required(f"{path}.name")
    for problem in names.port_number(port.get("port") or 0):
        yield invalid(f"{path}.port", port.get("port") or 0, problem)
    yield from one_of(port, path, "protocol", ("SCTP", "TCP", "UDP"))
    if port.get("appProtocol") is not None:
        yield from follows(port["appProtocol"], f"{path}.appProtocol", names.qualified_name)


ENDPOINTS = declare(
    Endpoints, group="", version="v1", kind="Endpoints", plural="endpoints", short_names=("ep",), singular="endpoints",
    create_on_update=True,
    columns=(NAME, column("Endpoints", _shown), AGE), strategy=EndpointsStrategy(),
)  # fmt: skip
