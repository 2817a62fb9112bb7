"""EndpointSlice. Source: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tiphys.api import names
from tiphys.api.errors import FieldError, duplicate, invalid, not_supported, required, too_many
from tiphys.api.meta import Model, ObjectMeta, ObjectReference
from tiphys.api.resource import Json
from tiphys.kinds.addresses import address_warnings, check_not_special, parse
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
        kind = new.get("addressType") or ""
        if not kind:
            yield required("addressType")
        elif kind not in ("FQDN", "IPv4", "IPv6"):
            yield not_supported("addressType", kind, ("FQDN", "IPv4", "IPv6"))
        endpoints, ports = new.get("endpoints") or (), new.get("ports") or ()
        if len(endpoints) > _MOST_ENDPOINTS:
            yield too_many("endpoints", len(endpoints), _MOST_ENDPOINTS)
        else:
            for index, endpoint in enumerate(endpoints):
                yield from _check_endpoint(endpoint, kind, f"endpoints[{index}]")
        if len(ports) > _MOST_PORTS:
            yield too_many("ports", len(ports), _MOST_PORTS)
        else:
            yield from _check_ports(ports)
        yield from immutable(new, old, "addressType")

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        if new.get("addressType") == "FQDN":
            yield "addressType: FQDN endpoints are deprecated"
            return
        for index, endpoint in enumerate(new.get("endpoints") or ()):
            for position, address in enumerate(endpoint.get("addresses") or ()):
                yield from address_warnings(address, f"endpoints[{index}].addresses[{position}]")


_MOST_ENDPOINTS, _MOST_PORTS, _MOST_ADDRESSES, _MOST_LABELS, _MOST_HINTS = 1000, 20000, 100, 16, 8


def _check_endpoint(endpoint: Json, kind: str, path: str) -> Iterator[FieldError]:
    addresses, topology = endpoint.get("addresses") or (), endpoint.get("deprecatedTopology") or {}
    if not addresses:
        yield required(f"{path}.addresses", "must contain at least 1 address")
    elif len(addresses) > _MOST_ADDRESSES:
        yield too_many(f"{path}.addresses", len(addresses), _MOST_ADDRESSES)
    for index, address in enumerate(addresses):
        yield from _check_address(address, kind, f"{path}.addresses[{index}]")
    if endpoint.get("nodeName") is not None:
        yield from follows(endpoint["nodeName"], f"{path}.nodeName", names.dns1123_subdomain)
    if len(topology) > _MOST_LABELS:
        yield too_many(f"{path}.deprecatedTopology", len(topology), _MOST_LABELS)
    yield from names.validate_labels(topology, f"{path}.deprecatedTopology")
    if endpoint.get("hostname") is not None:
        yield from follows(endpoint["hostname"], f"{path}.hostname", names.dns1123_label)
    for field, rule in (("forZones", names.label_value), ("forNodes", names.dns1123_subdomain)):
        hints = (endpoint.get("hints") or {}).get(field) or ()
        if len(hints) > _MOST_HINTS:
            yield too_many(f"{path}.hints.{field}", len(hints), _MOST_HINTS)
            continue
        yield from _check_hints(hints, f"{path}.hints.{field}", rule)


def _check_hints(hints: Sequence[Json], path: str, rule: Callable[[str], list[str]]) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, hint in enumerate(hints):
        where, name = f"{path}[{index}].name", hint.get("name") or ""
        if name in seen:
            yield duplicate(where, name)
        seen.add(name)
        yield from follows(name, where, rule)


def _check_address(address: str, kind: str, path: str) -> Iterator[FieldError]:
    if kind == "FQDN":
        problems = names.dns1123_subdomain(address.removesuffix("."))
        if problems:
            yield invalid(path, address, ",".join(problems))
        elif "." not in address.removesuffix("."):
            rule = "should be a domain with at least two segments separated by dots"
            yield invalid(path, address, rule)
    elif kind in ("IPv4", "IPv6"):
        parsed = parse(address)
        if parsed is None:
            yield from follows(address, path, names.ip)
            return
        if f"IPv{parsed.version}" != kind:
            yield invalid(path, address, f"must be an {kind} address")
        yield from check_not_special(address, path)


def _check_ports(ports: Sequence[Json]) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        where, name = f"ports[{index}]", port.get("name") or ""
        if name:
            yield from follows(name, f"{where}.name", names.dns1123_label)
        if name in seen:
            yield duplicate(f"{where}.name", name)
        seen.add(name)
        if port.get("port") is not None:
            for problem in names.port_number(port["port"]):
                yield invalid(f"{where}.port", port["port"], problem)
        yield from one_of(port, where, "protocol", ("SCTP", "TCP", "UDP"))
        if port.get("appProtocol") is not None:
            yield from follows(port["appProtocol"], f"{where}.appProtocol", names.qualified_name)


ENDPOINT_SLICES = declare(
    EndpointSlice, group="discovery.k8s.io", version="v1", kind="EndpointSlice", plural="endpointslices",
    columns=(
        NAME, at("AddressType", "addressType"), column("Ports", _ports), column("Endpoints", _addresses), AGE,
    ),
    strategy=EndpointSliceStrategy(),
)  # fmt: skip
