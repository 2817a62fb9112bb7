"""ServiceAddresses: cluster addresses and node ports, each given to one Service at a time.

An address is held by an IPAddress object, as upstream holds it; a port by a key of its own. Both are made with "only if
absent", so several API servers cannot give the same one twice. What a crash left behind is freed by `repair`.
Source: https://kubernetes.io/docs/reference/networking/virtual-ips/#ip-address-objects
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator
from contextlib import suppress

import orjson

from tiphys import store
from tiphys.api import errors
from tiphys.api.resource import Json
from tiphys.base.clock import Clock
from tiphys.server.admission.chain import Attributes, Plugin
from tiphys.server.cache import Cache

_SERVICES = "/registry/core/services/"
_ADDRESSES = "/registry/networking.k8s.io/ipaddresses/"
_PORTS = "/registry/allocations/nodeports/"
_TRIES = 64
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ServiceAddresses(Plugin):
    resources = (("", "services"),)

    def __init__(self, cache: Cache, network: Network, ports: range) -> None:
        self._cache, self._network, self._ports = cache, network, ports
        self._taken: dict[int, list[str]] = {}

    async def repair(self, clock: Clock, grace: float = 0.0) -> None:
        """Free what belongs to no Service, if it still does so after `grace` seconds.

        Another server may be about to store the Service that it has just taken something for.
        """
        stray = self._stray()
        if not stray:
            return
        if grace:
            await clock.sleep(grace)
        for key, revision in self._stray().items():
            if stray.get(key) == revision:
                with suppress(store.Conflict):
                    await self._cache.store.delete(key, revision)

    def _stray(self) -> dict[str, store.Revision]:
        held = {key for entry in self._cache.of(_SERVICES).items.values() for key in _keys(entry.decode())}
        found = (self._cache.of(prefix).items for prefix in (_ADDRESSES, _PORTS))
        return {key: entry.revision for items in found for key, entry in items.items() if key not in held}

    async def reserve(self, attributes: Attributes) -> None:
        service = attributes.obj
        if service is None or not attributes.is_for("", "services"):
            return
        before = set(_keys(attributes.old)) if attributes.old else set()
        taken = self._taken.setdefault(id(attributes), [])
        await self._address(attributes, service, before, taken)
        await self._node_ports(attributes, service, before, taken)

    async def settled(self, attributes: Attributes, *, stored: bool) -> None:
        if not attributes.is_for("", "services"):
            return
        freed = self._taken.pop(id(attributes), [])
        if stored:
            now = set(_keys(attributes.obj)) if attributes.obj else set()
            freed = [key for key in _keys(attributes.old or {}) if key not in now]
        for key in freed:
            await self._free(key)

    async def _address(self, attributes: Attributes, service: Json, before: set[str], taken: list[str]) -> None:
        spec = service["spec"]
        if spec.get("type") == "ExternalName":
            for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                spec.pop(field, None)
            return
        wanted = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or ()), "")
        if wanted and wanted != "None":
            self._check_in_range(attributes, wanted)
            if _ADDRESSES + wanted not in before and not await self._take(attributes, _ADDRESSES + wanted, taken):
                _refuse(
                    attributes, "spec.clusterIPs", [wanted], "failed to allocate IP: provided IP is already allocated"
                )
        elif not wanted:
            wanted = await self._free_address(attributes, taken)
        spec["clusterIP"], spec["clusterIPs"] = wanted, [wanted]
        spec.setdefault("ipFamilies", ["IPv6" if self._network.version == 6 else "IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")

    def _check_in_range(self, attributes: Attributes, wanted: str) -> None:
        try:
            inside = ipaddress.ip_address(wanted) in self._network
        except ValueError:
            inside = False
        if not inside:
            why = f"failed to allocate IP {wanted}: the provided network does not match the current range"
            _refuse(attributes, "spec.clusterIPs", [wanted], why)

    async def _free_address(self, attributes: Attributes, taken: list[str]) -> str:
        size = self._network.num_addresses
        # The lowest part is left for addresses that people choose, as upstream does.
        low = min(max(16, size // 16), 256) if size > 32 else 1
        for _ in range(_TRIES):
            address = str(self._network[random.randrange(low, size - 1)])  # noqa: S311 - spread, no secret
            if await self._take(attributes, _ADDRESSES + address, taken):
                return address
        for number in range(1, size - 1):
            address = str(self._network[number])
            if await self._take(attributes, _ADDRESSES + address, taken):
                return address
        raise errors.InternalError(f"failed to allocate a serviceIP: range {self._network} is full")

    async def _node_ports(self, attributes: Attributes, service: Json, before: set[str], taken: list[str]) -> None:
        spec = service["spec"]
        wants = spec.get("type") == "NodePort" or (
            spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False
        )
        used: dict[int, str] = {}
        for index, port in enumerate(spec.get("ports") or ()):
            number = port.get("nodePort") or 0
            if not wants and spec.get("type") != "LoadBalancer":
                port.pop("nodePort", None)
                continue
            protocol = port.get("protocol", "TCP")
            if number and used.get(number) != protocol and number not in used:
                await self._wanted_port(attributes, f"spec.ports[{index}].nodePort", number, before, taken)
            elif not number and wants:
                number = port["nodePort"] = await self._free_port(attributes, taken)
            if number:
                used[number] = protocol

    async def _wanted_port(
        self, attributes: Attributes, path: str, number: int, before: set[str], taken: list[str]
    ) -> None:
        if number not in self._ports:
            span = f"{self._ports.start}-{self._ports.stop - 1}"
            _refuse(
                attributes, path, number, f"provided port is not in the valid range. The range of valid ports is {span}"
            )
        key = f"{_PORTS}{number}"
        if key not in before and not await self._take(attributes, key, taken):
            _refuse(attributes, path, number, "provided port is already allocated")

    async def _free_port(self, attributes: Attributes, taken: list[str]) -> int:
        for number in random.sample(self._ports, len(self._ports)):
            if await self._take(attributes, f"{_PORTS}{number}", taken):
                return number
        raise errors.InternalError("failed to allocate a nodePort: the range is full")

    async def _take(self, attributes: Attributes, key: str, taken: list[str]) -> bool:
        if key in self._cache.of(key[: key.rindex("/") + 1]).items or key in taken:
            return False
        if not attributes.dry_run:
            try:
                await self._cache.store.put(key, _holder(key, attributes), store.ABSENT)
            except store.Conflict:
                return False
            taken.append(key)
        return True

    async def _free(self, key: str) -> None:
        try:
            await self._cache.store.delete(key)
        except store.Conflict:
            return


def _keys(service: Json) -> Iterator[str]:
    spec = service.get("spec") or {}
    for address in spec.get("clusterIPs") or ():
        if address != "None":
            yield _ADDRESSES + address
    for port in spec.get("ports") or ():
        if port.get("nodePort"):
            yield f"{_PORTS}{port['nodePort']}"


def _holder(key: str, attributes: Attributes) -> bytes:
    """The object that stands for an allocation; for an address it is what the API shows as IPAddress."""
    name = key.rsplit("/", 1)[1]
    parent = {"group": "", "resource": "services", "namespace": attributes.namespace, "name": attributes.name}
    meta = {"name": name, "labels": {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}}
    if attributes.obj is not None:
        meta["creationTimestamp"] = attributes.obj["metadata"].get("creationTimestamp", "")
        meta["uid"] = attributes.obj["metadata"].get("uid", "")
    spec = {"parentRef": parent}
    return orjson.dumps({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": meta, "spec": spec})


def _refuse(attributes: Attributes, path: str, value: object, why: str) -> None:
    raise errors.invalid_object("", "Service", attributes.name, [errors.invalid(path, value, why)])
