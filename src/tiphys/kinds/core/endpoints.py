"""Endpoints. Source: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoints-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, invalid, required
from tiphys.api.meta import Model, ObjectMeta, ObjectReference
from tiphys.api.resource import Json
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
        for index, subset in enumerate(new.get("subsets") or ()):
            where = f"subsets[{index}]"
            if not subset.get("addresses") and not subset.get("notReadyAddresses"):
                yield required(where, "must specify `addresses` or `notReadyAddresses`")
            for kind in ("addresses", "notReadyAddresses"):
                for position, address in enumerate(subset.get(kind) or ()):
                    yield from follows(address.get("ip") or "", f"{where}.{kind}[{position}].ip", names.ip)
            ports = subset.get("ports") or ()
            for position, port in enumerate(ports):
                place = f"{where}.ports[{position}]"
                if len(ports) > 1 and not port.get("name"):
                    yield required(f"{place}.name")
                for problem in names.port_number(port.get("port") or 0):
                    yield invalid(f"{place}.port", port.get("port") or 0, problem)
                yield from one_of(port, place, "protocol", ("SCTP", "TCP", "UDP"))


ENDPOINTS = declare(
    Endpoints, group="", version="v1", kind="Endpoints", plural="endpoints", short_names=("ep",), singular="endpoints",
    create_on_update=True,
    columns=(NAME, column("Endpoints", _shown), AGE), strategy=EndpointsStrategy(),
)  # fmt: skip
