"""EndpointSlice. Source: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, duplicate, required, too_many
from tiphys.api.meta import Model, ObjectMeta, ObjectReference
from tiphys.api.resource import Json
from tiphys.kinds.checks import follows, immutable, one_of
from tiphys.kinds.columns import AGE, NAME, UNSET, at, column, joined
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import put_default, put_text
from tiphys.kinds.strategy import KindStrategy


class EndpointConditions(Model):
    """None: unknown; `ready` and `serving` unknown count as true, `terminating` as false."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForZone(Model):
    name: str


class EndpointHints(Model):
    for_zones: list[ForZone] = []
    for_nodes: list[ForZone] = []


class Endpoint(Model):
    addresses: list[str] = []
    conditions: EndpointConditions = EndpointConditions()
    hostname: str = ""
    node_name: str = ""
    zone: str = ""
    target_ref: ObjectReference | None = None
    hints: EndpointHints | None = None


class SlicePort(Model):
    """`port` None: all ports."""

    name: str = ""
    port: int | None = None
    protocol: str = "TCP"
    app_protocol: str | None = None


class EndpointSlice(Model):
    metadata: ObjectMeta = ObjectMeta()
    address_type: str = ""
    endpoints: list[Endpoint] = []
    ports: list[SlicePort] = []

    @property
    def service_name(self) -> str:
        return self.metadata.labels.get("kubernetes.io/service-name", "")


def _ports(obj: Json) -> str:
    ports = [str(port["port"]) if port.get("port") is not None else "*" for port in obj.get("ports") or ()]
    return joined(ports, empty=UNSET, most=3)


def _addresses(obj: Json) -> str:
    found = [address for endpoint in obj.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    return joined(found, empty=UNSET, most=3)


class EndpointSliceStrategy(KindStrategy):
    def default(self, new: Json) -> None:
        for port in new.get("ports") or ():
            put_default(port, "name", "")
            put_text(port, "protocol", "TCP")

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        kind = new.get("addressType")
        if not kind:
            yield required("addressType")
        yield from one_of(new, "", "addressType", ("FQDN", "IPv4", "IPv6"))
        yield from immutable(new, old, "addressType")
        endpoints = new.get("endpoints") or ()
        if len(endpoints) > 1000:
            yield too_many("endpoints", len(endpoints), 1000)
        for index, endpoint in enumerate(endpoints):
            addresses = endpoint.get("addresses") or ()
            if not addresses:
                yield required(f"endpoints[{index}].addresses", "must contain at least 1 address")
            rule = names.dns1123_subdomain if kind == "FQDN" else names.ip
            for position, address in enumerate(addresses):
                yield from follows(address, f"endpoints[{index}].addresses[{position}]", rule)
        seen: set[str] = set()
        for index, port in enumerate(new.get("ports") or ()):
            name = port.get("name") or ""
            if name in seen:
                yield duplicate(f"ports[{index}].name", name)
            seen.add(name)
            yield from one_of(port, f"ports[{index}]", "protocol", ("SCTP", "TCP", "UDP"))


ENDPOINT_SLICES = declare(
    EndpointSlice, group="discovery.k8s.io", version="v1", kind="EndpointSlice", plural="endpointslices",
    columns=(
        NAME, at("AddressType", "addressType"), column("Ports", _ports), column("Endpoints", _addresses), AGE,
    ),
    strategy=EndpointSliceStrategy(),
)  # fmt: skip
