"""EndpointSlices for Endpoints that users write themselves, for Services without a selector.

Source: https://kubernetes.io/docs/concepts/services-networking/service/#services-without-selectors
"""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.api.meta import Key, owner_reference
from tiphys.controllers import slices
from tiphys.controllers.base import After, Context
from tiphys.controllers.slices import HEADLESS, MANAGED_BY, SERVICE_NAME, Group
from tiphys.kinds.core.endpoints import ENDPOINTS, EndpointAddress, Endpoints
from tiphys.kinds.core.service import SERVICES, Service
from tiphys.kinds.discovery.endpointslice import (
    ENDPOINT_SLICES,
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    SlicePort,
)

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"
_BY_SERVICE = "mirrored"


def mirrored(endpoints: Endpoints | None, service: Service | None) -> bool:
    """Whether these Endpoints are to have slices."""
    if endpoints is None or service is None or service.spec.selector or service.spec.type == "ExternalName":
        return False
    meta = endpoints.metadata
    return meta.labels.get(SKIP) != "true" and _LEADER not in meta.annotations and meta.deletion_timestamp is None


def wanted(endpoints: Endpoints) -> list[tuple[Group, list[Endpoint]]]:
    found: list[tuple[Group, list[Endpoint]]] = []
    for subset in endpoints.subsets:
        ports = slices.ordered(SlicePort(p.name, p.port, p.protocol, p.app_protocol) for p in subset.ports)
        for family in ("IPv4", "IPv6"):
            held = [
                _endpoint(address, ready=ready)
                for ready, addresses in ((True, subset.addresses), (False, subset.not_ready_addresses))
                for address in addresses if (":" in address.ip) == (family == "IPv6")
            ]  # fmt: skip
            same = next((entry for group, entry in found if group == (family, ports)), None)
            if same is not None:
                same += held
            elif held:
                found.append(((family, ports), held))
    return found


def _endpoint(address: EndpointAddress, *, ready: bool) -> Endpoint:
    return Endpoint(
        addresses=[address.ip], conditions=EndpointConditions(ready=ready), hostname=address.hostname,
        node_name=address.node_name or "", target_ref=address.target_ref,
    )  # fmt: skip


class EndpointSliceMirroringController:
    name = "endpointslicemirroring-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._services = context.watch(SERVICES)
        self._endpoints = context.watch(ENDPOINTS)
        self._slices = context.watch(ENDPOINT_SLICES, _services_of)
        self._slices.add_index(_BY_SERVICE, _services_of)
        self._client = context.client.of(ENDPOINT_SLICES)

    async def reconcile(self, key: Key) -> After | None:
        endpoints = self._endpoints.get(key)
        existing: list[EndpointSlice] = self._slices.by(_BY_SERVICE, key)
        if endpoints is None or not mirrored(endpoints, self._services.get(key)):
            await slices.write(self._client, slices.SlicePlan(delete=existing), {})
            return None
        meta = endpoints.metadata
        labels = {label: value for label, value in meta.labels.items() if label != HEADLESS}
        labels |= {SERVICE_NAME: meta.name, MANAGED_BY: MANAGER}
        made = {
            "generateName": f"{meta.name}-", "namespace": meta.namespace, "labels": labels,
            "ownerReferences": [owner_reference("v1", "Endpoints", meta)],
        }  # fmt: skip
        await slices.write(self._client, slices.plan(existing, wanted(endpoints), labels), made)
        return None


def _services_of(each: EndpointSlice) -> Iterable[str]:
    labels = each.metadata.labels
    if labels.get(MANAGED_BY) == MANAGER and each.service_name:
        return (f"{each.metadata.namespace}/{each.service_name}",)
    return ()
