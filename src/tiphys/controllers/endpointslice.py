"""The EndpointSlice controller: the addresses behind every Service that selects pods.

Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tiphys.api.meta import Key, ObjectReference, owner_reference
from tiphys.api.resource import Json
from tiphys.controllers import slices
from tiphys.controllers.base import After, Context
from tiphys.controllers.pods import NODE, by_node
from tiphys.controllers.service_pods import ServicePods, addresses_of, hostname_of, target_port
from tiphys.controllers.slices import HEADLESS, MANAGED_BY, SERVICE_NAME, Group, Ports
from tiphys.controllers.zones import ZONE
from tiphys.kinds.core.node import NODES, Node
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.core.service import Service
from tiphys.kinds.discovery.endpointslice import (
    ENDPOINT_SLICES,
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointSlice,
    ForZone,
    SlicePort,
)

MANAGER = "endpointslice-controller.k8s.io"
_BY_SERVICE = "service"
_RESERVED = (SERVICE_NAME, MANAGED_BY, HEADLESS)


def endpoint(pod: Pod, service: Service, addresses: Sequence[str], zone: str) -> Endpoint:
    serving, terminating = pod.ready, pod.deleted
    ready = service.spec.publish_not_ready_addresses or (serving and not terminating)
    meta = pod.metadata
    return Endpoint(
        addresses=list(addresses),
        conditions=EndpointConditions(ready=ready, serving=serving, terminating=terminating),
        hostname=hostname_of(pod, service), node_name=pod.spec.node_name, zone=zone,
        target_ref=ObjectReference(kind="Pod", namespace=meta.namespace, name=meta.name, uid=meta.uid),
        hints=_hints(service.spec.traffic_distribution, pod.spec.node_name, zone) if ready else None,
    )  # fmt: skip


def _hints(distribution: str, node: str, zone: str) -> EndpointHints | None:
    if not distribution or not zone:
        return None
    near = [ForZone(node)] if distribution == "PreferSameNode" and node else []
    return EndpointHints(for_zones=[ForZone(zone)], for_nodes=near)


def ports_of(pod: Pod, service: Service) -> Ports:
    """The Service's ports as they are in this pod; those that it does not have are left out."""
    found = []
    for port in service.spec.ports:
        number = target_port(pod, port)
        if number is not None:
            found.append(SlicePort(port.name, number, port.protocol, port.app_protocol or None))
    return slices.ordered(found)


def wanted(service: Service, pods: Iterable[Pod], zone_of: Callable[[str], str]) -> list[tuple[Group, list[Endpoint]]]:
    """The endpoints of each group; a family without any has one empty group."""
    families = service.spec.ip_families or ["IPv4"]
    found: dict[str, list[tuple[Ports, list[Endpoint]]]] = {family: [] for family in families}
    for pod in sorted(pods, key=lambda each: each.metadata.name):
        if pod.finished:
            continue
        ports = ports_of(pod, service)
        for family in families:
            addresses = [ip for ip in addresses_of(pod) if (":" in ip) == (family == "IPv6")][:1]
            if addresses:
                _put(found[family], ports, endpoint(pod, service, addresses, zone_of(pod.spec.node_name)))
    return [((family, ports), held) for family in families for ports, held in found[family] or [((), [])]]


def _put(groups: list[tuple[Ports, list[Endpoint]]], ports: Ports, new: Endpoint) -> None:
    for held, endpoints in groups:
        if held == ports:
            endpoints.append(new)
            return
    groups.append((ports, [new]))


def labels_of(service: Service) -> dict[str, str]:
    labels = {key: value for key, value in service.metadata.labels.items() if key not in _RESERVED}
    labels |= {SERVICE_NAME: service.metadata.name, MANAGED_BY: MANAGER}
    if service.headless:
        labels[HEADLESS] = ""
    return labels


class EndpointSliceController:
    name = "endpointslice-controller"
    workers = 5

    def __init__(self, context: Context) -> None:
        self._pods = ServicePods(context.informers, context.queue.add)
        self._services = context.watch(self._pods.services.resource)
        self._slices = context.watch(ENDPOINT_SLICES, _services_of)
        self._slices.add_index(_BY_SERVICE, _services_of)
        self._pods.pods.add_index(NODE, by_node)
        self._nodes = context.informers.of(NODES)
        self._nodes.add_handler(self._node_changed)
        self._queue = context.queue
        self._client = context.client.of(ENDPOINT_SLICES)

    async def reconcile(self, key: Key) -> After | None:
        service = self._services.get(key)
        existing: list[EndpointSlice] = self._slices.by(_BY_SERVICE, key)
        if service is None:
            await slices.write(self._client, slices.SlicePlan(delete=existing), {})
            return None
        if service.metadata.deletion_timestamp is not None or not service.spec.selector:
            return None
        if service.spec.type == "ExternalName":
            return None
        # Slices of a Service of the same name that was before this one are not ours to fill.
        foreign = [each for each in existing if _owner(each) != service.metadata.uid]
        own = [each for each in existing if _owner(each) == service.metadata.uid]
        labels = labels_of(service)
        planned = slices.plan(own, wanted(service, self._pods.of(service), self._zone), labels)
        planned.delete += foreign
        await slices.write(self._client, planned, _meta(service, labels))
        return None

    def _zone(self, name: str) -> str:
        node = self._nodes.get(name)
        return node.metadata.labels.get(ZONE, "") if node is not None else ""

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        before = old.metadata.labels.get(ZONE) if old is not None else None
        after = new.metadata.labels.get(ZONE) if new is not None else None
        node = new or old
        if before != after and node is not None:
            for pod in self._pods.pods.by(NODE, node.metadata.name):
                for key in self._pods.services_of(pod):
                    self._queue.add(key)


def _meta(service: Service, labels: dict[str, str]) -> Json:
    return {
        "generateName": f"{service.metadata.name}-", "namespace": service.metadata.namespace, "labels": labels,
        "ownerReferences": [owner_reference("v1", "Service", service.metadata)],
    }  # fmt: skip


def _owner(each: EndpointSlice) -> str:
    owner = each.metadata.controller
    return owner.uid if owner is not None else ""


def _services_of(each: EndpointSlice) -> Iterable[str]:
    """The Service of a slice that is ours."""
    labels = each.metadata.labels
    if labels.get(MANAGED_BY) == MANAGER and each.service_name:
        return (f"{each.metadata.namespace}/{each.service_name}",)
    return ()

