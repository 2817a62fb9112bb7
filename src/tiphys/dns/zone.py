"""The cluster's zone: names of Services, endpoints and pods, from the informers' indexes. Pure but for reading them.

Source: https://github.com/kubernetes/dns/blob/master/docs/specification.md (schema 1.1.0)
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence

from tiphys.client.informer import Informer
from tiphys.dns.wire import AAAA, ANY, CNAME, PTR, SRV, TXT, A, Record
from tiphys.kinds.core.service import Service
from tiphys.kinds.discovery.endpointslice import Endpoint, EndpointSlice

_SERVICE_NAME = "kubernetes.io/service-name"
_VERSION = {4: A, 6: AAAA}
_SCHEMA = "1.1.0"


class Zone:
    """`find` answers for names under `domain` and for the reverse names of addresses that it knows."""

    def __init__(self, domain: str, services: Informer[Service], slices: Informer[EndpointSlice]) -> None:
        self.domain = domain
        self._services, self._slices = services, slices
        slices.add_index("service", _service_of)
        slices.add_index("address", _addresses_of)
        services.add_index("cluster ip", lambda service: service.spec.cluster_ips)
        services.add_index("namespace", lambda service: (service.metadata.namespace,))

    @property
    def synced(self) -> bool:
        """Whether the zone knows the cluster; before that, "no such name" would be a lie that resolvers remember."""
        return self._services.synced.is_set() and self._slices.synced.is_set()

    def covers(self, name: str) -> bool:
        return name == self.domain or name.endswith(f".{self.domain}")

    def find(self, name: str, kind: int) -> list[Record] | None:
        """Records of `kind` under a name; an empty list if the name exists without any; None if it does not exist."""
        labels = name[: -len(self.domain) - 1].split(".") if name != self.domain else []
        match list(reversed(labels)):
            case [] | ["svc"] | ["pod"]:
                return []
            case ["svc", namespace]:
                return [] if self._services.by("namespace", namespace) else None
            case ["svc", namespace, service, *rest]:
                return self._service(name, kind, f"{namespace}/{service}", list(reversed(rest)))
            case ["pod", namespace, address]:
                return self._pod(name, kind, address)
            case ["dns-version"]:
                return [Record(name, TXT, _SCHEMA)] if kind in (TXT, ANY) else []
        return None

    def reverse(self, address: str) -> list[Record] | None:
        """The PTR records of an address; None if it is none of ours."""
        name = ipaddress.ip_address(address).reverse_pointer
        for service in self._services.by("cluster ip", address):
            target = f"{service.metadata.name}.{service.metadata.namespace}.svc.{self.domain}"
            return [Record(name, PTR, target)]
        found = [
            Record(name, PTR, f"{_host(endpoint, address)}.{_service_name(slice_)}.svc.{self.domain}")
            for slice_ in self._slices.by("address", address)
            for endpoint in slice_.endpoints
            if address in endpoint.addresses and self._headless(slice_)
        ]
        return found or None

    def _headless(self, slice_: EndpointSlice) -> bool:
        for key in _service_of(slice_):
            service = self._services.get(key)
            return service is not None and service.spec.cluster_ip == "None"
        return False

    def _service(self, name: str, kind: int, key: str, rest: Sequence[str]) -> list[Record] | None:
        service = self._services.get(key)
        if service is None:
            return None
        if service.spec.type == "ExternalName":
            return [Record(name, CNAME, service.spec.external_name)] if not rest else None
        if len(rest) == 2 and rest[0].startswith("_") and rest[1].startswith("_"):
            return self._ports(name, kind, service, (rest[0][1:], rest[1][1:]))
        headless = service.spec.cluster_ip == "None"
        if not rest and not headless:
            return list(_of_kind(name, kind, service.spec.cluster_ips))
        if len(rest) > 1 or not headless:
            return None
        endpoints = [
            (endpoint, address)
            for endpoint in self._endpoints(service)
            for address in endpoint.addresses
            if not rest or _host(endpoint, address) == rest[0]
        ]
        if rest and not endpoints:
            return None
        return list(_of_kind(name, kind, dict.fromkeys(address for _, address in endpoints)))

    def _endpoints(self, service: Service) -> Iterator[Endpoint]:
        for slice_ in self._slices.by("service", service.metadata.key):
            yield from _published(service, slice_)

    def _ports(self, name: str, kind: int, service: Service, wanted: tuple[str, str]) -> list[Record] | None:
        """SRV: _port._protocol.service; the endpoints of a headless Service, else the Service itself."""
        port_name, protocol = wanted
        target = f"{service.metadata.name}.{service.metadata.namespace}.svc.{self.domain}"
        found: list[Record] = []
        if service.spec.cluster_ip != "None":
            for port in service.spec.ports:
                if (port.name, port.protocol.lower()) == (port_name, protocol):
                    found.append(Record(name, SRV, f"0 100 {port.port} {target}"))
        else:
            for slice_ in self._slices.by("service", service.metadata.key):
                for slice_port in slice_.ports:
                    if slice_port.port and (slice_port.name, slice_port.protocol.lower()) == (port_name, protocol):
                        found += [
                            Record(name, SRV, f"0 100 {slice_port.port} {_host(endpoint, address)}.{target}")
                            for endpoint in _published(service, slice_)
                            for address in endpoint.addresses
                        ]
        if not found:
            return None
        return found if kind in (SRV, ANY) else []

    def _pod(self, name: str, kind: int, dashed: str) -> list[Record] | None:
        """10-42-0-5.NAMESPACE.pod: the address that the name itself says."""
        text = dashed.replace("-", "." if dashed.count("-") == 3 and "--" not in dashed else ":")
        try:
            address = str(ipaddress.ip_address(text))
        except ValueError:
            return None
        return list(_of_kind(name, kind, [address]))


def _published(service: Service, slice_: EndpointSlice) -> Iterator[Endpoint]:
    for endpoint in slice_.endpoints:
        if endpoint.conditions.ready is not False or service.spec.publish_not_ready_addresses:
            yield endpoint


def _of_kind(name: str, kind: int, addresses: Iterable[str]) -> Iterator[Record]:
    for address in addresses:
        try:
            version = _VERSION[ipaddress.ip_address(address).version]
        except ValueError:
            # Endpoints may be domain names (FQDN slices), for which there is no record.
            continue
        if kind in (version, ANY):
            yield Record(name, version, address)


def _host(endpoint: Endpoint, address: str) -> str:
    return endpoint.hostname or address.replace(".", "-").replace(":", "-")


def _service_of(slice_: EndpointSlice) -> tuple[str, ...]:
    name = slice_.metadata.labels.get(_SERVICE_NAME)
    return (f"{slice_.metadata.namespace}/{name}",) if name else ()


def _service_name(slice_: EndpointSlice) -> str:
    return f"{slice_.metadata.labels.get(_SERVICE_NAME, '')}.{slice_.metadata.namespace}"


def _addresses_of(slice_: EndpointSlice) -> Iterator[str]:
    for endpoint in slice_.endpoints:
        yield from endpoint.addresses
