"""The Endpoints controller: the older form of EndpointSlices, one object a Service, its primary address family only.

Source: https://kubernetes.io/docs/concepts/services-networking/service/#endpoints
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tiphys.api.errors import NotFound
from tiphys.api.meta import Key, ObjectReference
from tiphys.api.resource import Json
from tiphys.controllers.base import After, Context
from tiphys.controllers.service_pods import ServicePods, addresses_of, hostname_of, target_port
from tiphys.controllers.slices import HEADLESS
from tiphys.kinds.core.endpoints import ENDPOINTS, EndpointAddress, EndpointPort, Endpoints, EndpointSubset
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.core.service import Service

MANAGED_BY, MANAGER = "endpoints.kubernetes.io/managed-by", "endpoint-controller"
_OVER = "endpoints.kubernetes.io/over-capacity"
CAPACITY = 1000
_LARGE = 100
_Ports = list[EndpointPort]


def plan(service: Service, pods: Iterable[Pod]) -> list[EndpointSubset]:
    """The subsets in upstream's canonical form: ports with the same addresses share a subset, all is sorted."""
    six = (service.spec.ip_families or ["IPv4"])[0] == "IPv6"
    groups: list[tuple[_Ports, tuple[list[EndpointAddress], list[EndpointAddress]]]] = []
    for pod in sorted(pods, key=lambda each: each.metadata.name):
        address = _address(pod, service, six=six)
        if address is None:
            continue
        ready = service.spec.publish_not_ready_addresses or pod.ready
        ports = _ports(pod, service)
        if service.spec.ports and not ports:
            continue
        group = next((held for held in groups if held[0] == ports), None)
        if group is None:
            group = (ports, ([], []))
            groups.append(group)
        group[1][0 if ready else 1].append(address)
    groups.sort(key=lambda held: [(port.name, port.port, port.protocol) for port in held[0]])
    return _limited([EndpointSubset(_sorted(yes), _sorted(no), ports) for ports, (yes, no) in groups])


def _sorted(addresses: list[EndpointAddress]) -> list[EndpointAddress]:
    return sorted(addresses, key=lambda each: (each.ip, each.target_ref.uid if each.target_ref else ""))


def _address(pod: Pod, service: Service, *, six: bool) -> EndpointAddress | None:
    if pod.finished or (pod.deleted and not service.spec.publish_not_ready_addresses):
        return None
    ip = next((ip for ip in addresses_of(pod) if (":" in ip) == six), "")
    if not ip:
        return None
    meta = pod.metadata
    target = ObjectReference(kind="Pod", namespace=meta.namespace, name=meta.name, uid=meta.uid)
    return EndpointAddress(ip, hostname_of(pod, service), pod.spec.node_name or None, target)


def _ports(pod: Pod, service: Service) -> _Ports:
    found = []
    for port in service.spec.ports:
        number = target_port(pod, port)
        if number is not None:
            found.append(EndpointPort(number, port.name, port.protocol, port.app_protocol or None))
    return sorted(found, key=lambda each: (each.name, each.port, each.protocol))


def count(subsets: Sequence[EndpointSubset]) -> int:
    return sum(len(each.addresses) + len(each.not_ready_addresses) for each in subsets)


def _limited(subsets: list[EndpointSubset]) -> list[EndpointSubset]:
    """No more than an object may hold; ready addresses first."""
    if count(subsets) <= CAPACITY:
        return subsets
    left, kept = CAPACITY, []
    for each in subsets:
        yes = each.addresses[:left]
        no = each.not_ready_addresses[: left - len(yes)]
        left -= len(yes) + len(no)
        if yes or no:
            kept.append(EndpointSubset(yes, no, each.ports))
    return kept


def labels_of(service: Service) -> dict[str, str]:
    labels = {key: value for key, value in service.metadata.labels.items() if key != HEADLESS}
    labels[MANAGED_BY] = MANAGER
    if service.headless:
        labels[HEADLESS] = ""
    return labels


class EndpointsController:
    name = "endpoint-controller"
    workers = 5

    def __init__(self, context: Context) -> None:
        self._queue = context.queue
        self._endpoints = context.watch(ENDPOINTS)
        self._pods = ServicePods(context.informers, self._pod_changed)
        self._services = context.watch(self._pods.services.resource)
        self._client = context.client.of(ENDPOINTS)

    async def reconcile(self, key: Key) -> After | None:
        service, current = self._services.get(key), self._endpoints.get(key)
        if service is None:
            await self._remove(current)
            return None
        if service.metadata.deletion_timestamp is not None or not service.spec.selector:
            return None
        if service.spec.type == "ExternalName":
            return None
        subsets, labels = plan(service, self._pods.of(service)), labels_of(service)
        if current is not None and current.subsets == subsets and current.metadata.labels == labels:
            return None
        await self._write(service, current, subsets, labels)
        return None

    def _pod_changed(self, key: str) -> None:
        """The object is written whole for each change, so a large one gathers changes, a millisecond an address."""
        current = self._endpoints.get(key)
        size = count(current.subsets) if current is not None else 0
        if size < _LARGE:
            self._queue.add(key)
        else:
            self._queue.add_after(key, size / 1000)

    async def _write(
        self, service: Service, current: Endpoints | None, subsets: list[EndpointSubset], labels: dict[str, str]
    ) -> None:
        over = "truncated" if count(subsets) >= CAPACITY else None
        body: Any = msgspec.to_builtins(subsets)
        meta: Json = {"labels": labels, "annotations": {_OVER: over}}
        if current is None:
            meta |= {"name": service.metadata.name, "namespace": service.metadata.namespace}
            meta["annotations"] = {_OVER: over} if over else {}
            await self._client.create({"metadata": meta, "subsets": body})
            return
        gone = {label: None for label in current.metadata.labels if label not in labels}
        meta |= {"uid": current.metadata.uid, "labels": {**labels, **gone}}
        try:
            await self._client.patch(current.metadata, {"metadata": meta, "subsets": body or None})
        except NotFound:
            return

    async def _remove(self, current: Endpoints | None) -> None:
        """Endpoints of a Service that went; those that somebody else made, with a leader in them, stay."""
        if current is None or current.metadata.labels.get(MANAGED_BY) != MANAGER:
            return
        try:
            await self._client.delete(current.metadata)
        except NotFound:
            return
