"""From a Service to addresses that answer for it: how the server itself reaches webhooks and extension API servers.

The server need not run where a service proxy does, so it goes to the ready endpoints and not to the cluster address.
Source: https://kubernetes.io/docs/concepts/services-networking/service/
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tiphys.api.resource import Json
from tiphys.server.cache import Cache

_SERVICES = "/registry/core/services/"
_SLICES = "/registry/discovery.k8s.io/endpointslices/"
Address = tuple[str, int]


class NoBackend(Exception):
    """Nothing answers for a Service now. `reason` is upstream's word for it, as APIService conditions carry it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


class Backends:
    def __init__(self, cache: Cache) -> None:
        self._services, self._slices = cache.of(_SERVICES), cache.of(_SLICES)

    def of(self, namespace: str, name: str, port: int) -> list[Address]:
        """Host and port of every ready endpoint of the Service's `port`, in random order. Raises NoBackend."""
        entry = self._services.items.get(f"{_SERVICES}{namespace}/{name}")
        if entry is None:
            raise NoBackend("ServiceNotFound", f'service/{name} in "{namespace}" is not present')
        spec: Json = entry.decode()["spec"]
        if spec.get("type") == "ExternalName":
            return [(spec["externalName"], port)]
        found = next((p for p in spec.get("ports") or () if p["port"] == port), None)
        if found is None:
            raise NoBackend("ServicePortError", f'service/{name} in "{namespace}" is not listening on port {port}')
        slices = self._slices_of(namespace, name)
        if not slices:
            raise NoBackend("EndpointsNotFound", f'cannot find endpointslices for service/{name} in "{namespace}"')
        addresses = [address for slice_ in slices for address in _ready(slice_, found.get("name") or "")]
        if not addresses:
            port_name = found.get("name") or ""
            why = f'endpoints for service/{name} in "{namespace}" have no addresses with port name "{port_name}"'
            raise NoBackend("MissingEndpoints", why)
        random.shuffle(addresses)
        return addresses

    def _slices_of(self, namespace: str, name: str) -> list[Json]:
        entries = self._slices.scan(f"{_SLICES}{namespace}/")
        return [entry.decode() for entry in entries if entry.labels.get("kubernetes.io/service-name") == name]


def _ready(slice_: Json, port_name: str) -> Iterator[Address]:
    numbers = [p["port"] for p in slice_.get("ports") or () if (p.get("name") or "") == port_name and p.get("port")]
    for endpoint in slice_.get("endpoints") or ():
        if (endpoint.get("conditions") or {}).get("ready") is not False:
            for number in numbers:
                yield endpoint["addresses"][0], number
